// Audits: rows A1 and A2, and W10, which A1 is there for.
#include "enforcer/reflector/count_audit.h"
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

/// Synced with pods a and b at 100, watching, with an audit every five minutes.
struct Audited : Script {
  Audited()
      : audit(
            machine, budget, [] { return 0.0; }, 5min) {
    sync({{"a", "1"}, {"b", "2"}}, "100");
    audit.start(now);
  }
  /// The next audit and its answer.
  void count(const std::string& revision, std::uint64_t objects) {
    ask();
    reply(revision, objects);
  }
  void ask() {
    while (now < *audit.deadline()) {
      pass(std::min<reflector::Duration>(10s, *audit.deadline() - now));
      if (open && !headed) head(200);
    }
    const auto due = audit.on_timer(now);
    ASSERT_TRUE(due.request);
    EXPECT_EQ(due.request->target, "/api/v1/pods?limit=1");
  }
  void reply(const std::string& revision, std::uint64_t objects, const std::string& encoding = "") {
    audit.on_response_head({200, "application/json", {}, {}, encoding}, now);
    std::vector<PodText> items;
    if (objects > 0) items.push_back({"a", "1"});
    const auto more = objects > 1 ? R"(,"continue":"x","remainingItemCount":)" + std::to_string(objects - 1) : "";
    EXPECT_TRUE(audit.on_bytes(list_of(items, revision, more), now));
    perform(audit.on_close({.whole = true, .why = {}}, now));
  }
  reflector::CountAudit audit;
};

TEST(Audit, A1_is_asked_every_five_to_ten_minutes) {
  Audited s;
  EXPECT_EQ(*s.audit.deadline() - s.now, 5min);
  reflector::CountAudit late(
      s.machine, s.budget, [] { return 0.999; }, 5min);
  late.start(s.now);
  EXPECT_GT(*late.deadline() - s.now, 9min);
  EXPECT_LE(*late.deadline() - s.now, 10min);
}

TEST(Audit, W17_a_count_that_is_compressed_is_none) {
  Audited s;
  s.ask();
  s.reply("40", 2, "gzip");
  EXPECT_FALSE(s.asks_list());
  EXPECT_EQ(s.cursor(), "100");
}

TEST(Audit, A1_W10_a_version_behind_the_cursor_is_a_history_that_went_back) {
  Audited s;
  s.count("40", 2);
  EXPECT_TRUE(s.asks_list());
  EXPECT_EQ(s.revision_asked(), "-") << "from the database";
  EXPECT_EQ(s.names(), "a b");
  s.answer(200, list_of({{"c", "30"}}, "41"));
  EXPECT_EQ(s.names(), "c");
  EXPECT_EQ(s.cursor(), "41");
  EXPECT_EQ(s.machine.status().rollbacks, 1U);
  EXPECT_TRUE(s.asks_watch());
  EXPECT_EQ(s.revision_asked(), "41");
}

TEST(Audit, A1_a_count_that_differs_twice_lists_again) {
  Audited s;
  s.count("100", 3);
  EXPECT_TRUE(s.asks_watch()) << "once may be a matter of the moment";
  s.count("100", 3);
  EXPECT_TRUE(s.asks_watch_list());
  EXPECT_EQ(s.revision_asked(), "-");
  s.refuse_watch_list();
  EXPECT_EQ(s.machine.status().missed_events, 1U);
  s.answer(200, list_of({{"a", "1"}, {"b", "2"}, {"c", "50"}}, "100"));
  EXPECT_EQ(s.names(), "a b c");
  EXPECT_EQ(s.machine.status().missed_events, 2U) << "and the list shows which";
}

TEST(Audit, A1_a_count_that_agrees_between_two_that_do_not_clears_them) {
  Audited s;
  for (const std::uint64_t count : {3U, 2U, 3U, 2U}) s.count("100", count);
  EXPECT_EQ(s.machine.status().missed_events, 0U);
  EXPECT_EQ(s.machine.status().lists, 1U);
}

TEST(Audit, A1_a_count_ahead_of_the_cursor_waits_for_it) {
  Audited s;
  for (int i = 0; i < 2; ++i) {
    s.count(std::to_string(120 + 10 * i), 3);
    EXPECT_TRUE(s.asks_watch());
    s.bytes(event(i == 0 ? "ADDED" : "MODIFIED", {"c", std::to_string(115 + 10 * i)}));
    s.bytes(event("MODIFIED", {"a", std::to_string(121 + 10 * i)}));
    EXPECT_TRUE(s.asks_watch()) << "at that version there were three";
  }
  for (int i = 0; i < 2; ++i) {
    s.count(std::to_string(220 + 10 * i), 7);
    EXPECT_TRUE(s.asks_watch()) << "not known yet";
    s.bytes(bookmark(std::to_string(220 + 10 * i)));
  }
  EXPECT_TRUE(s.asks_watch_list());
}

TEST(Audit, A1_a_count_that_the_store_has_left_behind_says_nothing) {
  Audited s;
  for (int i = 0; i < 4; ++i) {
    s.ask();
    s.bytes(event("ADDED", {"c" + std::to_string(i), std::to_string(110 + i)}));
    s.reply(std::to_string(109 + i), 99);
  }
  EXPECT_TRUE(s.asks_watch());
  EXPECT_EQ(s.machine.status().missed_events, 0U);
}

TEST(Audit, A1_an_audit_without_an_answer_changes_nothing) {
  Audited s;
  s.ask();
  s.audit.on_response_head({403, "application/json", {}, {}}, s.now);
  EXPECT_TRUE(s.audit.on_bytes(status(403, "Forbidden"), s.now));
  s.perform(s.audit.on_close({.whole = true, .why = {}}, s.now));
  s.ask();
  s.audit.on_response_head({200, "application/json", {}, {}}, s.now);
  EXPECT_FALSE(s.audit.on_bytes("garbage", s.now));
  s.ask();
  s.now += 71s;
  EXPECT_TRUE(s.audit.on_timer(s.now).close) << "silent";
  EXPECT_EQ(s.names(), "a b");
  EXPECT_EQ(s.machine.status().lists, 1U);
}

TEST(Audit, A2_everything_is_listed_twice_a_day_and_what_differs_is_counted_and_mended) {
  Audited s;
  const auto began = s.now;
  while (!s.asks_list() && !s.asks_watch_list() && s.now - began < 24h) {
    if (s.open) s.end();
    s.pass_until_asked();
    if (s.asks_watch()) s.head(200);
    s.pass(1min);
  }
  const auto took = s.now - began;
  EXPECT_GE(took, 6h);
  EXPECT_LE(took, 12h);
  EXPECT_EQ(s.revision_asked(), "-");
  EXPECT_EQ(s.names(), "a b");
  s.head(200);
  s.bytes(event("ADDED", {"a", "1"}) + event("ADDED", {"c", "60"}) + event("ADDED", {"d", "150"}) +
          bookmark("150", true));
  EXPECT_EQ(s.names(), "a c d");
  EXPECT_EQ(s.machine.status().missed_events, 1U) << "c; d is newer than the cursor, b may have gone just now";
}

/// The server, while a watch is open. It refuses, or does not answer at all.
void go_and_return(Script& s, bool refuses) {
  s.pass(2s);
  s.end(false);
  s.pass_until_asked();
  if (refuses) {
    s.answer(503, "unavailable");
  } else {
    s.end(false);
  }
  s.pass_until_asked();
  ASSERT_TRUE(s.asks_watch());
  s.head(200);
}

/// Back with the database of a backup, in which b is as it was before; its revisions have passed the cursor.
TEST(Audit, C4_a_server_that_was_away_is_compared_though_its_history_goes_on) {
  for (const bool refuses : {false, true}) {
    Audited s;
    go_and_return(s, refuses);
    s.bytes(event("ADDED", {"d", "101"}));
    const auto back = s.now;
    while (!s.asks_list() && !s.asks_watch_list() && s.now - back < 24h) {
      if (s.open && !s.headed) s.head(200);
      if (s.open) s.bytes(bookmark("101", false));
      s.pass(10s);
    }
    EXPECT_GE(s.now - back, 5min) << "all pods: not all agents at once";
    EXPECT_LE(s.now - back, 31min);
    EXPECT_EQ(s.revision_asked(), "-");
    s.head(200);
    s.bytes(event("ADDED", {"a", "1"}) + event("ADDED", {"b", "90"}) + event("ADDED", {"d", "101"}) +
            bookmark("120", true));
    EXPECT_EQ(s.names(), "a b d");
    EXPECT_EQ(s.machine.status().missed_events, 1U) << "b";
  }
}

TEST(Audit, C4_policies_are_compared_within_two_minutes) {
  Script s({api::Kind::network_policy, "networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"});
  s.sync({}, "100");
  go_and_return(s, false);
  const auto back = s.now;
  while (!s.asks_list() && !s.asks_watch_list() && s.now - back < 1h) s.pass(5s);
  EXPECT_GE(s.now - back, 30s);
  EXPECT_LE(s.now - back, 125s);
}

}  // namespace
}  // namespace podfence::test
