#include "enforcer/agent/cni_requests.h"

#include <net/if.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>

#include "enforcer/kernel/closure.h"
#include "policy/base/json_writer.h"
#include "policy/evaluate/evaluate.h"

namespace podfence::agent {
namespace {

using sandbox::Attachment;
using sandbox::Key;
using std::chrono::milliseconds;

// Codes of the CNI specification; from 100 on they are the plugin's own.
constexpr int invalid_config = 7;
constexpr int try_again = 11;
constexpr int not_available = 50;
constexpr int not_available_and_limited = 51;
constexpr int check_failed = 100;

constexpr milliseconds default_deadline{10'000};
constexpr milliseconds longest_deadline{120'000};
constexpr milliseconds answer_margin{200};       // so that the plugin hears the reason before it gives up by itself
constexpr milliseconds removal_deadline{1'000};  // a DEL succeeds in any case
constexpr std::size_t most_addresses = 256;

constexpr const char* ok = R"({"ok":true})";

Result<Key> key_of(const Request& request) {
  Key key{request.text("container_id"), request.text("ifname")};
  if (auto valid = sandbox::validate(key); !valid) return fail(valid.error());
  return key;
}

/// The attachment that cni.add and cni.check tell of.
Result<Attachment> attachment_of(const Request& request) {
  auto key = key_of(request);
  if (!key) return fail(key.error());
  Attachment a;
  a.key = std::move(*key);
  a.network = request.text("network");
  if (!sandbox::is_identifier(a.network)) return fail(Errc::invalid, "network: expected the network's name");
  a.netns = request.text("netns");
  a.host_interface = request.text("host_interface");
  if (a.host_interface.empty()) return fail(Errc::invalid, "host_interface is missing");
  const auto index = request.number("host_ifindex").value_or(0);
  if (index <= 0 || index > std::numeric_limits<std::int32_t>::max()) {
    return fail(Errc::invalid, "host_ifindex: expected an interface index");
  }
  a.host_ifindex = static_cast<std::uint32_t>(index);
  a.bridge = request.text("bridge");
  const auto* addresses = request.list("addresses");
  if (addresses == nullptr || addresses->empty() || addresses->size() > most_addresses) {
    return fail(Errc::invalid, "addresses: expected at least one, at most 256");
  }
  for (const auto& text : *addresses) {
    const auto ip = net::IpAddr::parse(text);
    if (!ip) return fail(Error(ip.error()).in("addresses"));
    a.addresses.push_back(*ip);
  }
  a.pod_namespace = request.text("pod_namespace");
  a.pod_name = request.text("pod_name");
  a.pod_uid = request.text("pod_uid");
  return a;
}

milliseconds deadline_of(const Request& request) {
  const auto asked = request.number("deadline_ms").value_or(default_deadline.count());
  const auto deadline = std::clamp(milliseconds(asked), milliseconds(0), longest_deadline);
  return deadline - std::min(deadline / 4, answer_margin);
}

bool in_managed_range(const compile::Compiler& compiler, const net::IpAddr& ip) {
  const auto* node = compiler.cluster().find_node(compiler.settings().node);
  if (node == nullptr || !compiler.settings().fail_closed) return false;
  return std::any_of(node->pod_cidrs.begin(), node->pod_cidrs.end(), [&](const auto& c) { return c.contains(ip); });
}

}  // namespace

std::string cni_error(std::string_view what, int code) {
  std::string out;
  JsonWriter(out).begin_object().field("error", what).field("code", code).end_object();
  return out;
}

CniRequests::CniRequests(boost::asio::io_context& io, sandbox::Registry& registry, CniHost& host)
    : io_(io), registry_(registry), host_(host) {}

void CniRequests::take(const Request& request, Reply reply) {
  replay_journal();
  if (request.command == "cni.add") return add(request, std::move(reply));
  if (request.command == "cni.del") return del(request, std::move(reply));
  if (request.command == "cni.check") return check(request, std::move(reply));
  if (request.command == "cni.gc") return gc(request, std::move(reply));
  if (request.command == "cni.status") return reply.send(status());
  reply.send(cni_error("unknown command '" + request.command + "'", invalid_config));
}

void CniRequests::add(const Request& request, Reply reply) {
  auto attachment = attachment_of(request);
  if (!attachment) return reply.send(cni_error("cni.add: " + attachment.error().what(), invalid_config));
  const auto key = attachment->key;
  if (auto plugged = plug(std::move(*attachment)); !plugged) {
    return reply.send(cni_error("the pod cannot be recorded: " + plugged.error().what(), try_again));
  }
  if (adopted_.count(key) == 0) registry_.journal().erase(key);  // of one that is adopted, when it is open
  Waiting waiting{std::move(reply), key, true, 0, {}, {}};
  hold(std::move(waiting), deadline_of(request));
}

void CniRequests::del(const Request& request, Reply reply) {
  const auto key = key_of(request);
  if (key) {  // one that is no key was never plugged in
    unplug({*key});
    registry_.journal().erase(*key);
  }
  if (!host_.enforcing()) return reply.send(ok);
  hold(Waiting{std::move(reply), {}, false, 0, ok, {}}, removal_deadline);
}

void CniRequests::gc(const Request& request, Reply reply) {
  const auto* valid = request.object_list("valid");
  const auto network = request.text("network");
  if (valid == nullptr || network.empty()) {
    return reply.send(cni_error("cni.gc: expected a network and the list of valid attachments", invalid_config));
  }
  std::vector<Key> keys;
  for (const auto& fields : *valid) {
    const auto id = fields.find("container_id");
    const auto name = fields.find("ifname");
    if (id == fields.end() || name == fields.end()) {
      return reply.send(cni_error("cni.gc: a valid attachment without container_id and ifname", invalid_config));
    }
    keys.push_back({id->second, name->second});
  }
  const auto invalid = registry_.invalid(network, keys);
  unplug(invalid);
  std::string answer;
  JsonWriter(answer).begin_object().field("ok", true).field("removed", invalid.size()).end_object();
  if (!host_.enforcing() || invalid.empty()) return reply.send(std::move(answer));
  hold(Waiting{std::move(reply), {}, false, invalid.size(), std::move(answer), {}}, removal_deadline);
}

std::string CniRequests::status() const {
  if (!host_.enforcing()) {
    const auto why = host_.trouble();
    return cni_error("the podfence agent has not read all of its source yet" + (why.empty() ? "" : ": " + why),
                     not_available);
  }
  const auto trouble = host_.trouble();
  if (trouble.empty()) return ok;
  return cni_error("the podfence agent cannot write its rules: " + trouble, not_available_and_limited);
}

/// What is on disk from before the start may be all that an agent did before it was killed: then it is as new.
Result<> CniRequests::plug(Attachment attachment) {
  for (const auto& ip : attachment.addresses) {
    const auto* claimant = registry_.attachments().claimant(ip);
    if (claimant == nullptr || claimant->key != attachment.key || !flows_cut_) fresh_.insert(ip);
  }
  auto events = registry_.add(std::move(attachment));
  if (!events) return fail(events.error());
  host_.change(*events, registry_.attachments().addresses());
  return {};
}

void CniRequests::unplug(const std::vector<Key>& keys) {
  sandbox::Registry::Events events;
  for (const auto& key : keys) {
    adopted_.erase(key);
    auto removed = registry_.remove(key);
    if (!removed.fault) spdlog::warn("event=attachment_file_stays error=\"{}\"", removed.fault.error().what());
    events.insert(events.end(), removed.events.begin(), removed.events.end());
  }
  host_.change(events, registry_.attachments().addresses());
}

void CniRequests::hold(Waiting waiting, milliseconds time) {
  waiting.reply.keep(time);
  waiting.timer = std::make_shared<boost::asio::steady_timer>(io_, time);
  const auto at = waiting_.insert(waiting_.end(), std::move(waiting));
  // Cancelled when `at` goes. The timer may have expired just before: then the handler comes with no error, and late.
  at->timer->async_wait([this, at, weak = std::weak_ptr(at->timer)](boost::system::error_code ec) {
    if (ec || weak.expired()) return;
    auto late = std::move(*at);
    waiting_.erase(at);
    if (!late.is_add) return late.reply.send(std::move(late.on_time));
    const auto why = host_.trouble();
    const std::string state = host_.enforcing()
                                  ? "the pod's rules are not in the kernel yet"
                                  : "the podfence agent is starting: it has not read all of its source yet";
    late.reply.send(cni_error(state + (why.empty() ? "" : ": " + why), try_again));
  });
}

void CniRequests::on_committed() {
  const auto ended = end_flows_of_new();
  if (ended) {
    for (auto& [key, adopted] : adopted_) adopted.committed = true;
    open_adopted();
  }
  std::list<Waiting> answered;
  answered.swap(waiting_);
  for (auto& waiting : answered) {
    if (ended || !waiting.is_add) {
      waiting.reply.send(done(waiting));
    } else {
      waiting.reply.send(
          cni_error("flows of the address's former pod cannot be ended: " + ended.error().what(), try_again));
    }
  }
}

/// The plugin closed their interfaces; their rules are in the kernel now.
void CniRequests::open_adopted() {
  for (auto at = adopted_.begin(); at != adopted_.end();) {
    const auto* a = registry_.attachments().find(at->first);
    const auto opened = a == nullptr || !at->second.committed ? Result<>() : kernel::lift_closure(a->host_interface);
    if (!opened) spdlog::warn("event=closure_stays error=\"{}\"", opened.error().what());
    if (!opened || !at->second.committed) {
      ++at;
      continue;
    }
    registry_.journal().erase(at->second.entry);
    at = adopted_.erase(at);
  }
}

std::string CniRequests::done(const Waiting& waiting) const {
  if (!waiting.is_add) return waiting.on_time;
  const auto* attachment = registry_.attachments().find(waiting.key);
  if (attachment == nullptr) return cni_error("the sandbox was removed meanwhile", try_again);
  const bool known = registry_.join().pod_of(*attachment) != nullptr;
  std::string out;
  JsonWriter(out).begin_object().field("ok", true).field("pod_known", known).end_object();
  return out;
}

/// A flow of an address's former pod must not pass to the next one as established (X-03). Within the node's ranges an
/// address without a pod is closed, so that once the flows of its last pod are cut none has the label; elsewhere one
/// may. After a failure all of it is still to do.
Result<> CniRequests::end_flows_of_new() {
  for (const auto& ip : registry_.take_lost()) lost_.insert(ip);
  std::set<net::IpAddr> doubtful;
  for (const auto& ip : fresh_) {
    if (!flows_cut_ || lost_.count(ip) != 0 || !in_managed_range(host_.compiler(), ip)) doubtful.insert(ip);
  }
  if (!doubtful.empty()) {
    doubtful.insert(lost_.begin(), lost_.end());  // the walk is the same, and those after these need none
    if (auto done = host_.end_flows({doubtful.begin(), doubtful.end()}); !done) {
      spdlog::warn("event=flows_not_ended error=\"{}\"", done.error().what());
      return done;
    }
    lost_.clear();
  }
  fresh_.clear();
  return {};
}

void CniRequests::replay_journal() {
  auto read = registry_.journal().read();
  for (const auto& problem : read.problems) spdlog::warn("event=journal_unreadable error=\"{}\"", problem);
  for (const auto& entry : read.entries) {
    const auto adopted = adopted_.find(entry.key);
    if (adopted == adopted_.end() || adopted->second.entry.line != entry.line) replay(entry);
  }
  open_adopted();
}

/// A removal, or a pod that was plugged in closed because there was no agent. One that cannot be read is a removal: its
/// name says enough.
void CniRequests::replay(const sandbox::JournalFiles::Entry& entry) {
  const auto line = std::string_view(entry.line).substr(0, entry.line.find('\n'));
  const auto request = parse_request(line);
  if (request && request->command == "cni.add") {
    auto attachment = attachment_of(*request);
    if (attachment && attachment->key == entry.key) {
      const auto plugged = plug(std::move(*attachment));
      if (plugged) {
        spdlog::info("event=journal_replayed command=cni.add attachment={}", entry.key.text());
        adopted_.insert_or_assign(entry.key, Adopted{entry, false});
      } else {
        spdlog::warn("event=journal_waits error=\"{}\"", plugged.error().what());
      }
      return;
    }
  }
  unplug({entry.key});
  registry_.journal().erase(entry);
  spdlog::info("event=journal_replayed command=cni.del attachment={}", entry.key.text());
}

void CniRequests::check(const Request& request, Reply reply) {
  const auto told = attachment_of(request);
  if (!told) return reply.send(cni_error("cni.check: " + told.error().what(), invalid_config));
  if (!host_.enforcing()) return reply.send(cni_error("the podfence agent is starting", try_again));
  const auto* known = registry_.attachments().find(told->key);
  if (known == nullptr) return reply.send(cni_error("the podfence agent does not know this sandbox", check_failed));
  if (known->addresses != told->addresses) {
    return reply.send(cni_error("the sandbox was reported with other addresses", check_failed));
  }
  auto checked = check_interface(*told);
  if (checked) checked = check_kernel(*known);
  if (checked) return reply.send(ok);
  const bool later = checked.error().code() == Errc::unavailable || checked.error().code() == Errc::busy;
  reply.send(cni_error(checked.error().what(), later ? try_again : check_failed));
}

Result<> CniRequests::check_interface(const Attachment& told) const {
  const auto index = ::if_nametoindex(told.host_interface.c_str());
  if (index == told.host_ifindex) return {};
  return fail(Errc::not_found, "host interface " + told.host_interface + " with index " +
                                   std::to_string(told.host_ifindex) + " is not there");
}

/// Each of its addresses as it must be in the kernel, by asking for single elements.
Result<> CniRequests::check_kernel(const Attachment& known) const {
  using program::Shape;
  const auto& compiler = host_.compiler();
  const auto demand = [&](Shape shape, net::Direction direction, const net::IpAddr& ip) -> Result<> {
    const program::SetId set{shape, direction, ip.family()};
    program::Element element;
    element.address = ip;
    const auto has = host_.kernel().has(set, element);
    if (!has) return fail(Errc::unavailable, has.error().what());
    if (*has) return {};
    return fail(Errc::not_found, "the kernel's set " + std::string(name_of(set)) + " is without " + ip.text());
  };
  for (const auto& ip : known.addresses) {
    if (auto managed = demand(Shape::managed, net::Direction::ingress, ip); !managed) return managed;
    const auto* owner = compiler.cluster().pod_by_ip(ip);
    if (owner == nullptr || owner->node != compiler.settings().node) continue;  // closed
    if (auto is_known = demand(Shape::known, net::Direction::ingress, ip); !is_known) return is_known;
    for (const auto direction : net::directions) {
      if (evaluate::isolating(compiler.cluster(), *owner, direction).empty()) continue;
      if (auto isolated = demand(Shape::isolated, direction, ip); !isolated) return isolated;
    }
  }
  return {};
}

std::map<std::uint32_t, flow::PodInterface> CniRequests::interfaces() const {
  std::map<std::uint32_t, flow::PodInterface> interfaces;
  for (const auto& [key, a] : registry_.attachments().all()) {
    const auto* pod = registry_.join().pod_of(a);
    if (pod == nullptr || a.host_ifindex == 0) continue;
    interfaces[a.host_ifindex] = {a.host_interface, pod->meta.namespace_, pod->meta.name, pod->meta.uid};
  }
  return interfaces;
}

}  // namespace podfence::agent
