#include "enforcer/sink/event_book.h"

#include <algorithm>

#include "enforcer/flow/fields.h"
#include "enforcer/sink/event_text.h"
#include "policy/base/json_writer.h"

namespace podfence::sink {
namespace {

using flow::TimePoint;

constexpr std::size_t longest_name = 253;
constexpr std::size_t longest_instance = 128;

/// Names of Events are DNS subdomains, and begin with the pod's as those of other writers do.
std::string event_name(const std::string& pod, const std::string& run, std::uint64_t number) {
  const std::string tail = ".pf-" + run + "-" + std::to_string(number);
  std::string head = pod.substr(0, longest_name - tail.size());
  while (!head.empty() && (head.back() == '.' || head.back() == '-')) head.pop_back();
  return head + tail;
}

void write_series(JsonWriter& json, std::uint64_t count, TimePoint last) {
  constexpr std::uint64_t most = 0x7fffffff;  // it is an int32
  json.key("series").begin_object().field("count", std::min(count, most));
  json.field("lastObservedTime", flow::text_of(last)).end_object();
}

void write_pod(JsonWriter& json, std::string_view field, const flow::K8s& k8s) {
  json.key(field).begin_object().field("apiVersion", "v1").field("kind", "Pod");
  json.field("namespace", k8s.namespace_).field("name", k8s.pod).field("uid", k8s.pod_uid).end_object();
}

std::string path_of(const std::string& namespace_) {
  return "/apis/events.k8s.io/v1/namespaces/" + namespace_ + "/events";
}

}  // namespace

bool EventBook::Bucket::take(unsigned burst, std::chrono::seconds refill, TimePoint now) {
  const double passed = std::chrono::duration<double>(now - filled).count();
  const bool first = filled == TimePoint{};
  tokens =
      first ? burst : std::min<double>(burst, tokens + std::max(0.0, passed) / static_cast<double>(refill.count()));
  filled = now;
  if (tokens < 1) return false;
  tokens -= 1;
  return true;
}

EventBook::EventBook(std::string node, std::string run, EventLimits limits)
    : node_(std::move(node)), run_(std::move(run)), limits_(limits) {}

/// The pod's own bucket first, so that one pod's scan takes nothing from the others.
bool EventBook::may_begin(const std::string& uid, TimePoint now) {
  if (pods_.size() >= limits_.most_pods && pods_.find(uid) == pods_.end()) return false;
  Pod& pod = pods_[uid];
  pod.used = now;
  return events_.size() < limits_.most_events && pod.bucket.take(limits_.pod_burst, limits_.pod_refill, now) &&
         agent_.take(limits_.agent_burst, limits_.agent_refill, now);
}

void EventBook::take(const flow::LoggedLine& line, TimePoint now) {
  if (!is_about_a_pod_of(line, node_)) return;
  if (now - std::max(line.time, line.end) > limits_.oldest) {
    ++lost_.refused;
    return;
  }
  const flow::K8s& pod = local_end(line).k8s;
  const std::string key = key_of(line);
  auto found = events_.find(key);
  if (found == events_.end()) {
    if (!may_begin(pod.pod_uid, now)) {
      ++lost_.suppressed;
      if (const auto known = pods_.find(pod.pod_uid); known != pods_.end()) ++known->second.untold;
      return;
    }
    found = events_.try_emplace(key).first;
    Event& event = found->second;
    event.namespace_ = pod.namespace_;
    event.name = event_name(pod.pod, run_, ++number_);
    event.line = line;
    event.untold = std::exchange(pods_[pod.pod_uid].untold, 0);
    event.last = line.end;
    new_.push_back(key);
  }
  Event& event = found->second;
  event.count += std::max<std::uint64_t>(line.count, 1);
  event.records += event.exists ? 0 : 1;
  event.last = std::max({event.last, line.time, line.end});
  event.last_taken = now;
}

EventRequest EventBook::creation(const Event& event) const {
  std::string body;
  JsonWriter json(body);
  json.begin_object().field("apiVersion", "events.k8s.io/v1").field("kind", "Event");
  json.key("metadata").begin_object().field("name", event.name).field("namespace", event.namespace_).end_object();
  json.field("eventTime", flow::text_of(event.line.time));
  if (event.count > 1) write_series(json, event.count, event.last);
  json.field("reportingController", "podfence.io/agent");
  json.field("reportingInstance", flow::cut(node_, longest_instance));
  json.field("type", "Warning").field("reason", "FlowDenied").field("action", "Drop");
  json.field("note", event_note(event.line, event.untold));
  write_pod(json, "regarding", local_end(event.line).k8s);
  if (const auto& peer = far_end(event.line); is_pod(peer)) write_pod(json, "related", peer.k8s);
  json.end_object();
  return {"POST", path_of(event.namespace_), "application/json", std::move(body)};
}

EventRequest EventBook::series(const Event& event) {
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  write_series(json, std::max<std::uint64_t>(event.count, 2), event.last);
  json.end_object();
  return {"PATCH", path_of(event.namespace_) + "/" + event.name, "application/merge-patch+json", std::move(body)};
}

std::optional<EventBook::Call> EventBook::next(bool new_ones, TimePoint now) {
  if (new_ones && !new_.empty()) return Call{new_.front(), creation(events_.at(new_.front()))};
  for (auto& [key, event] : events_) {
    if (!event.exists || event.count == event.told) continue;
    if (now >= event.last_told && now - event.last_told < limits_.repeat) continue;
    if (!agent_.take(limits_.agent_burst, limits_.agent_refill, now)) return std::nullopt;
    event.last_told = now;
    return Call{key, series(event)};
  }
  return std::nullopt;
}

/// It begins anew with the next record.
EventBook::Judged EventBook::drop(const Call& call, std::string error) {
  const auto event = events_.find(call.key);
  if (!event->second.exists) {
    lost_.refused += event->second.records;
    new_.pop_front();
  }
  events_.erase(event);
  return {.again = false, .pause = {}, .error = std::move(error)};
}

EventBook::Judged EventBook::answered(const Call& call, const EventAnswer& answer, TimePoint now) {
  Event& event = events_.at(call.key);
  const bool creates = call.request.method == "POST";
  const bool there = answer.status / 100 == 2 || (creates && answer.status == 409);  // 409: the answer was lost
  if (there) {
    if (creates) new_.pop_front();
    event.exists = true;
    event.told = event.count;
    event.last_told = now;
    return {};
  }
  if (!creates && answer.status == 404) return drop(call, "");  // it has expired
  std::string error = answer.status == 0 ? answer.error : refusal_text(answer.status, answer.body);
  error += " (event of " + flow::printable(event.namespace_) + ")";
  const bool later = answer.status == 0 || answer.status == 401 || answer.status == 429 || answer.status == 503 ||
                     answer.status == 504;
  if (!creates && (later || answer.status / 100 == 5))
    return {.again = true, .pause = answer.retry_after, .error = error};
  // What the API itself fails at may be this Event's fault, and others wait behind it.
  const bool failed = answer.status / 100 == 5 && ++event.tries < limits_.tries;
  if (later || failed) return {.again = true, .pause = answer.retry_after, .error = error};
  return drop(call, std::move(error));
}

void EventBook::forget(TimePoint now) {
  for (auto it = events_.begin(); it != events_.end();) {
    const Event& event = it->second;
    const bool over = event.exists && event.count == event.told && now - event.last_taken > limits_.forget;
    it = over ? events_.erase(it) : std::next(it);
  }
  const auto full = limits_.pod_refill * limits_.pod_burst;
  for (auto it = pods_.begin(); it != pods_.end();) {
    it = now - it->second.used > std::max<std::chrono::seconds>(full, limits_.forget) ? pods_.erase(it) : std::next(it);
  }
}

EventBook::Lost EventBook::take_lost() {
  return std::exchange(lost_, {});
}

}  // namespace podfence::sink
