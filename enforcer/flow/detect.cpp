#include "enforcer/flow/detect.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace podfence::flow {
namespace {

constexpr std::size_t most_samples = 5;

/// Where clouds give out credentials: AWS, GCP, Azure and others (169.254.169.254), AWS over IPv6, ECS tasks, EKS pod
/// identity, Azure's wire server.
const std::array<net::IpAddr, 5>& metadata_addresses() {
  static const std::array<net::IpAddr, 5> all{
      *net::IpAddr::parse("169.254.169.254"), *net::IpAddr::parse("fd00:ec2::254"),
      *net::IpAddr::parse("169.254.170.2"), *net::IpAddr::parse("169.254.170.23"),
      *net::IpAddr::parse("168.63.129.16")};
  return all;
}

/// A pod by its uid, so that its next one with the same name or address is another; others by their address.
std::string identity(const Endpoint& end) {
  if (!end.k8s.pod_uid.empty()) return end.k8s.pod_uid;
  if (!end.k8s.pod.empty()) return end.k8s.namespace_ + "/" + end.k8s.pod;
  return end.ip ? end.ip->text() : std::string();
}

std::string workload_of(const Endpoint& end) {
  if (end.k8s.namespace_.empty()) return {};
  const auto& name = end.k8s.workload.empty() ? end.k8s.pod : end.k8s.workload;
  return end.k8s.namespace_ + "/" + end.k8s.workload_kind + "/" + name;
}

/// What it tells for certain, of a record for many.
std::uint64_t beyond_examples(std::uint64_t distinct, std::size_t examples) {
  return distinct > examples ? distinct - examples : 0;
}

}  // namespace

bool is_metadata_address(const net::IpAddr& ip) {
  const auto& all = metadata_addresses();
  return std::find(all.begin(), all.end(), ip) != all.end();
}

template <class Value>
Value& Detector::Recent<Value>::at(const std::string& key, std::size_t most) {
  if (const auto found = index_.find(key); found != index_.end()) {
    order_.splice(order_.begin(), order_, found->second);
    return order_.front().second;
  }
  if (order_.size() >= most && !order_.empty()) {
    index_.erase(order_.back().first);
    order_.pop_back();
  }
  order_.emplace_front(key, Value());
  index_.emplace(key, order_.begin());
  return order_.front().second;
}

Detector::Detector(DetectionLimits limits, TimePoint start) : limits_(limits), start_(start) {}

void Detector::take(const FlowRecord& record, std::uint64_t sequence, TimePoint now) {
  if (record.verdict != Verdict::deny) return;
  const auto source = identity(record.source);
  if (source.empty()) return;
  single(record, source, sequence, now);
  if (record.reason == Reason::spoofed_source) return;  // who it says it is, it is not
  port_scan(record, source, sequence, now);
  sweep(record, source, sequence, now);
  spike(record, sequence, now);
}

/// What is worth a look at once.
void Detector::single(const FlowRecord& record, const std::string& source, std::uint64_t sequence, TimePoint now) {
  const auto found = [&](std::string_view name, const std::string& who) {
    if (silent(name, who, now)) return;
    auto made = detection(name, Severity::high, record, now);
    made.evidence.emplace_back("packets", record.count);
    made.samples.push_back(sequence);
    new_.push_back(std::move(made));
  };
  if (record.reason == Reason::spoofed_source) {
    const auto& pod = record.source.k8s;
    return found("spoofed_source", pod.pod.empty() ? record.interface : identity(record.source));
  }
  const bool asks = record.source.type == EndpointType::pod && record.destination.ip && !record.reply &&
                    is_metadata_address(*record.destination.ip);
  if (asks) found("metadata_access", source);
}

void Detector::follow(Trail& trail, const Seen& seen, std::size_t most) const {
  const auto known = std::find_if(trail.begin(), trail.end(), [&](const Seen& s) { return s.value == seen.value; });
  if (known != trail.end()) trail.erase(known);
  trail.push_front(seen);
  while (trail.size() > most || trail.back().time <= seen.time - limits_.slow) trail.pop_back();
}

std::size_t Detector::distinct(const Trail& trail, TimePoint since) {
  const auto end = std::find_if(trail.begin(), trail.end(), [&](const Seen& s) { return s.time <= since; });
  return static_cast<std::size_t>(end - trail.begin());
}

std::vector<std::uint64_t> Detector::samples_of(const Trail& trail) {
  std::vector<std::uint64_t> samples;
  for (const auto& seen : trail) {
    if (samples.size() < most_samples) samples.push_back(seen.sequence);
  }
  return samples;
}

void Detector::port_scan(const FlowRecord& record, const std::string& source, std::uint64_t sequence, TimePoint now) {
  const bool many = record.scan && record.scan->ports > 0;
  if ((!record.destination.port && !many) || !record.destination.ip || record.reply) return;
  auto& trail = ports_.at(source + ">" + record.destination.ip->text(), limits_.most_sources);
  if (record.destination.port) follow(trail, {record.destination.port->number, sequence, now}, limits_.ports_slow);
  std::uint64_t more = 0;
  if (many) {
    for (const auto port : record.scan->port_examples) follow(trail, {port.number, sequence, now}, limits_.ports_slow);
    more = beyond_examples(record.scan->ports, record.scan->port_examples.size());
  }
  const auto fast = distinct(trail, now - limits_.fast) + more;
  const auto slow = distinct(trail, now - limits_.slow) + more;
  if (fast < limits_.ports_fast && slow < limits_.ports_slow) return;
  if (silent("port_scan", source, now)) return;
  auto made = detection("port_scan", Severity::high, record, now);
  made.destination = record.destination;
  made.destination->port.reset();
  made.evidence.emplace_back("distinct_ports", fast >= limits_.ports_fast ? fast : slow);
  made.evidence.emplace_back("window_s", (fast >= limits_.ports_fast ? limits_.fast : limits_.slow).count());
  made.samples = samples_of(trail);
  new_.push_back(std::move(made));
}

void Detector::sweep(const FlowRecord& record, const std::string& source, std::uint64_t sequence, TimePoint now) {
  const bool many = record.scan && record.scan->ends > 0 && record.direction == net::Direction::egress;
  if (!record.destination.port || (!record.destination.ip && !many) || !record.protocol || record.reply) return;
  const auto port = std::to_string(record.destination.port->number);
  auto& trail = hosts_.at(source + ">" + std::to_string(record.protocol->number) + "/" + port, limits_.most_sources);
  const auto note = [&](const net::IpAddr& ip) {
    follow(trail, {net::IpAddrHash{}(ip), sequence, now}, limits_.hosts_slow);
  };
  if (record.destination.ip) note(*record.destination.ip);
  std::uint64_t more = 0;
  if (many) {
    for (const auto& ip : record.scan->end_examples) note(ip);
    more = beyond_examples(record.scan->ends, record.scan->end_examples.size());
  }
  const auto fast = distinct(trail, now - limits_.fast) + more;
  const auto slow = distinct(trail, now - limits_.slow) + more;
  if (fast < limits_.hosts_fast && slow < limits_.hosts_slow) return;
  if (silent("sweep", source, now)) return;
  auto made = detection("sweep", Severity::high, record, now);
  made.evidence.emplace_back("distinct_destinations", fast >= limits_.hosts_fast ? fast : slow);
  made.evidence.emplace_back("port", record.destination.port->number);
  made.evidence.emplace_back("window_s", (fast >= limits_.hosts_fast ? limits_.fast : limits_.slow).count());
  made.samples = samples_of(trail);
  new_.push_back(std::move(made));
}

/// Ends the buckets that are over: an average in which what is an hour old counts a third.
void Detector::advance(Average& average, TimePoint now) const {
  if (average.bucket == TimePoint()) average.bucket = now;
  const double keep = std::exp(-std::chrono::duration<double>(limits_.bucket) / limits_.memory);
  for (int steps = 0; now - average.bucket >= limits_.bucket; ++steps) {
    if (steps > 64) {  // long quiet
      average = {now, 0, 0};
      return;
    }
    average.mean = average.mean * keep + static_cast<double>(average.packets) * (1 - keep);
    average.packets = 0;
    average.bucket += limits_.bucket;
  }
}

void Detector::spike(const FlowRecord& record, std::uint64_t sequence, TimePoint now) {
  const auto workload = workload_of(record.source);
  if (workload.empty()) return;
  auto& average = workloads_.at(workload, limits_.most_sources);
  advance(average, now);
  average.packets += record.count;
  const auto packets = static_cast<double>(average.packets);
  if (now - start_ < limits_.memory || average.packets <= limits_.spike_packets) return;
  if (packets <= limits_.spike_factor * average.mean || silent("denied_spike", workload, now)) return;
  auto made = detection("denied_spike", Severity::medium, record, now);
  made.evidence.emplace_back("packets", average.packets);
  made.evidence.emplace_back("usual", static_cast<std::uint64_t>(std::llround(average.mean)));
  made.evidence.emplace_back("window_s", limits_.bucket.count());
  made.samples.push_back(sequence);
  new_.push_back(std::move(made));
}

void Detector::account(std::uint64_t denied, std::uint64_t lost, TimePoint now) {
  if (!account_ || denied < account_->denied || lost < account_->lost) {
    account_ = {now, denied, lost};
    return;
  }
  if (now - account_->since < limits_.bucket) return;
  const auto new_denied = denied - account_->denied;
  const auto new_lost = lost - account_->lost;
  account_ = {now, denied, lost};
  if (static_cast<double>(new_lost) <= limits_.loss_share * static_cast<double>(new_denied)) return;
  if (silent("log_loss", "", now)) return;
  DetectionRecord made{.time = now, .detection = "log_loss", .severity = Severity::medium};
  made.evidence = {{"lost", new_lost}, {"denied", new_denied}, {"window_s", limits_.bucket.count()}};
  new_.push_back(std::move(made));
}

void Detector::tampered(std::string what, std::string by, TimePoint now) {
  if (silent("agent_tamper", what, now)) return;
  DetectionRecord made{.time = now, .detection = "agent_tamper", .severity = Severity::critical};
  made.detail = std::move(what);
  made.by = std::move(by);
  new_.push_back(std::move(made));
}

bool Detector::silent(std::string_view name, const std::string& source, TimePoint now) {
  auto& until = silent_until_.at(std::string(name) + " " + source, 4 * limits_.most_sources);
  if (now < until) return true;
  until = now + limits_.silence;
  return false;
}

DetectionRecord Detector::detection(std::string_view name, Severity severity, const FlowRecord& record, TimePoint now) {
  DetectionRecord made{.time = now, .detection = std::string(name), .severity = severity};
  made.source = record.source;
  made.source->port.reset();
  return made;
}

std::vector<DetectionRecord> Detector::take_new() {
  return std::exchange(new_, {});
}

}  // namespace podfence::flow
