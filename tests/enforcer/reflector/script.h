#pragma once
// A reflector with a scripted server, a clock that a test moves, and a store. What holds for every request is checked
// at every request.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "enforcer/reflector/reflector.h"

namespace podfence::test {

using namespace std::chrono_literals;
using reflector::Actions;
using reflector::State;

inline reflector::Resource pods() {
  return {api::Kind::pod, "pods", "/api/v1/pods"};
}

/// A pod "shop/NAME" as an item of a list or, with its kind, as an object of an event.
struct PodText {
  std::string name;
  std::string revision;
  std::string label = "x";
  std::string uid = {};
  std::string json(bool with_kind) const {
    return std::string("{") + (with_kind ? R"("kind":"Pod","apiVersion":"v1",)" : "") + R"("metadata":{"name":")" +
           name + R"(","namespace":"shop","uid":")" + (uid.empty() ? "uid-" + name : uid) + R"(","resourceVersion":")" +
           revision + R"(","labels":{"app":")" + label +
           R"("}},"spec":{"nodeName":"n1"},"status":{"phase":"Running","podIP":"10.0.0.1"}})";
  }
};

inline std::string list_of(const std::vector<PodText>& items, const std::string& revision,
                           const std::string& more = "") {
  std::string out = R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":")" + revision + "\"" + more +
                    R"(},"items":[)";
  for (std::size_t i = 0; i < items.size(); ++i) out += (i == 0 ? "" : ",") + items[i].json(false);
  return out + "]}\n";
}

inline std::string event(const std::string& type, const PodText& pod) {
  return R"({"type":")" + type + R"(","object":)" + pod.json(true) + "}\n";
}

inline std::string bookmark(const std::string& revision, bool ends_list = false) {
  return R"({"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":")" + revision +
         "\"" + (ends_list ? R"(,"annotations":{"k8s.io/initial-events-end":"true"})" : "") + "}}}\n";
}

inline std::string status(int code, const std::string& reason, const std::string& details = "{}") {
  return R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":")" + reason +
         R"(","details":)" + details + R"(,"code":)" + std::to_string(code) + "}";
}

inline std::string error(int code, const std::string& reason) {
  return R"({"type":"ERROR","object":)" + status(code, reason) + "}\n";
}

class Script {
 public:
  explicit Script(reflector::Resource resource = pods(), double chance = 0.5)
      : machine(std::move(resource), budget, [this] { return this->random; }),
        random(chance),
        now(std::chrono::hours(1000)),
        began(now) {
    perform(machine.start(now));
  }

  // The server.
  void head(unsigned code, const std::string& type = "application/json",
            std::optional<std::chrono::seconds> retry_after = {}, const std::string& encoding = "") {
    ASSERT_TRUE(open) << "nothing was asked";
    headed = true;
    perform(machine.on_response_head({code, type, retry_after, {}, encoding}, now));
  }
  void bytes(const std::string& text) {
    ASSERT_TRUE(open) << "the exchange is closed";
    perform(machine.on_bytes(text, now));
  }
  void end(bool whole = true) {
    if (!open) return;
    open = false;
    perform(machine.on_close({whole, whole ? "" : "cut"}, now));
  }
  void answer(unsigned code, const std::string& body, std::optional<std::chrono::seconds> retry_after = {}) {
    head(code, "application/json", retry_after);
    if (open) bytes(body);
    end();
  }
  /// A list as a watch is refused, as by an old server.
  void refuse_watch_list() { answer(422, status(422, "Invalid")); }
  /// The first list, and the head of the watch that follows.
  void sync(const std::vector<PodText>& items, const std::string& revision) {
    refuse_watch_list();
    answer(200, list_of(items, revision));
    head(200);
    ASSERT_TRUE(machine.status().synced);
  }

  // The clock.
  void pass(reflector::Duration time) {
    const auto until = now + time;
    for (auto at = machine.deadline(); at && *at <= until; at = machine.deadline()) {
      now = std::max(now, *at);
      perform(machine.on_timer(now));
    }
    now = until;
  }
  /// Until something is asked; how long it took.
  reflector::Duration pass_until_asked() {
    const auto from = now;
    while (!open && machine.deadline() && *machine.deadline() - from < 1h) {
      now = std::max(now, *machine.deadline());
      perform(machine.on_timer(now));
    }
    EXPECT_TRUE(open) << "nothing is asked within an hour";
    return now - from;
  }

  void perform(const Actions& actions) {
    if (actions.close) open = false;
    for (const auto& event : actions.events) cluster.apply(event);
    events += actions.events.size();
    for (const auto& note : actions.notes) notes.push_back(note);
    unauthorized = unauthorized || actions.unauthorized;
    if (!actions.request) return;
    EXPECT_FALSE(open) << "one exchange at a time";
    open = true;
    headed = false;
    asked.push_back(actions.request->target);
    check(asked.back());
  }

  /// What every request keeps to: L3 (no limit with a version), W1 and W3, W13 (no watch from nothing).
  static void check(const std::string& target) {
    const auto has = [&](const char* text) { return target.find(text) != std::string::npos; };
    EXPECT_FALSE(has("limit=") && has("resourceVersion=")) << target;
    if (!has("watch=1")) return;
    EXPECT_TRUE(has("allowWatchBookmarks=true") && has("timeoutSeconds=")) << target;
    EXPECT_EQ(has("sendInitialEvents=true"), has("resourceVersionMatch=NotOlderThan")) << target;
    if (!has("sendInitialEvents")) {
      EXPECT_TRUE(has("resourceVersion=") && !has("resourceVersion=&") && !has("resourceVersion=0&")) << target;
    }
  }

  // What was asked.
  const std::string& last() const { return asked.back(); }
  bool asks_list() const { return open && last().find("watch=1") == std::string::npos; }
  bool asks_watch_list() const { return open && last().find("sendInitialEvents") != std::string::npos; }
  bool asks_watch() const { return open && !asks_list() && !asks_watch_list(); }
  std::string revision_asked() const { return parameter("resourceVersion"); }
  std::string parameter(const std::string& name) const {
    const auto at = last().find("&" + name + "=") == std::string::npos ? last().find("?" + name + "=")
                                                                       : last().find("&" + name + "=");
    if (at == std::string::npos) return "-";
    const auto from = at + name.size() + 2;
    return last().substr(from, last().find('&', from) - from);
  }
  std::size_t lists_asked() const {
    return static_cast<std::size_t>(std::count_if(asked.begin(), asked.end(), [](const std::string& target) {
      return target.find("watch=1") == std::string::npos || target.find("sendInitialEvents") != std::string::npos;
    }));
  }

  // What is in the store.
  std::string names() const {
    std::string out;
    for (const auto& [key, pod] : cluster.pods()) out += (out.empty() ? "" : " ") + std::string(key.second);
    return out;
  }
  std::string label(const std::string& name) const {
    const auto* pod = cluster.find_pod("shop", name);
    return pod == nullptr ? "-" : std::string(api::find_label(pod->meta.labels, "app").value_or("-"));
  }
  const std::string& cursor() const { return machine.status().cursor; }

  reflector::Budget budget;
  reflector::Reflector machine;
  double random;
  reflector::Time now;
  reflector::Time began;
  bool open = false;
  bool headed = false;  // the answer to what is open has begun
  bool unauthorized = false;
  std::vector<std::string> asked;
  std::vector<std::string> notes;
  store::Cluster cluster;
  std::size_t events = 0;
};

}  // namespace podfence::test
