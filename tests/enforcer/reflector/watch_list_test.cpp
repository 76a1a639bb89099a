// A list as a watch: rows S1 to S5.
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

std::string initial(const std::vector<PodText>& items) {
  std::string out;
  for (const auto& pod : items) out += event("ADDED", pod);
  return out;
}

TEST(WatchList, S1_the_store_changes_at_the_mark_and_the_stream_goes_on_as_the_watch) {
  Script s;
  EXPECT_TRUE(s.asks_watch_list());
  s.head(200);
  s.bytes(initial({{"a", "7"}, {"b", "5"}}));
  s.bytes(bookmark("50"));
  EXPECT_EQ(s.names(), "");
  EXPECT_FALSE(s.machine.status().synced);
  s.bytes(bookmark("100", true));
  EXPECT_EQ(s.names(), "a b");
  EXPECT_EQ(s.cursor(), "100");
  EXPECT_TRUE(s.machine.status().synced);
  s.bytes(event("DELETED", {"a", "101"}));
  EXPECT_EQ(s.names(), "b");
  EXPECT_EQ(s.asked.size(), 1U);
}

TEST(WatchList, S1_cut_before_the_mark_it_changes_nothing) {
  Script s;
  s.head(200);
  s.bytes(initial({{"a", "7"}}) + bookmark("100", true));
  s.bytes(error(410, "Expired"));
  s.pass_until_asked();
  ASSERT_TRUE(s.asks_watch_list());
  EXPECT_EQ(s.revision_asked(), "100");
  s.head(200);
  s.bytes(initial({{"b", "120"}}));
  s.end(false);
  EXPECT_EQ(s.names(), "a");
  s.pass_until_asked();
  ASSERT_TRUE(s.asks_watch_list()) << "a cut says nothing against it";
  s.head(200);
  s.bytes(initial({{"b", "120"}}) + bookmark("130", true));
  EXPECT_EQ(s.names(), "b");
}

TEST(WatchList, S2_refused_it_is_a_list_for_ten_minutes) {
  for (const bool as_event : {false, true}) {
    Script s;
    if (as_event) {
      s.head(200);
      s.bytes(error(400, "BadRequest"));
    } else {
      s.refuse_watch_list();
    }
    EXPECT_TRUE(s.asks_list()) << "at once";
    s.answer(200, list_of({{"a", "1"}}, "100"));
    for (const bool again : {false, true}) {
      s.head(200);
      s.pass(again ? 280s : 1s);
      s.end();
      s.answer(410, status(410, "Expired"));
      s.pass_until_asked();
      EXPECT_TRUE(s.asks_list());
      s.answer(200, list_of({{"a", "1"}}, "100"));
    }
    s.head(200);
    s.pass(290s);
    s.end();
    s.pass(100s);
    s.answer(410, status(410, "Expired"));
    s.pass_until_asked();
    EXPECT_TRUE(s.asks_watch_list());
  }
}

TEST(WatchList, S3_without_its_mark_it_is_given_up) {
  Script s;
  s.head(200);
  s.bytes(initial({{"a", "7"}}));
  s.pass(9s);
  EXPECT_TRUE(s.notes.empty());
  s.pass(2s);
  EXPECT_EQ(s.notes.size(), 1U) << "a warning";
  s.bytes(initial({{"b", "8"}}));
  s.pass(59s);
  EXPECT_TRUE(s.open) << "it is still coming";
  s.pass(2s);
  EXPECT_TRUE(s.asks_list());
  EXPECT_EQ(s.names(), "");
  s.answer(200, list_of({{"c", "9"}}, "100"));
  EXPECT_EQ(s.names(), "c");
  EXPECT_EQ(s.events, 1U) << "nothing is left of what was heard before";
}

TEST(WatchList, S4_an_end_among_the_first_events_begins_anew) {
  Script s;
  s.head(200);
  s.bytes(initial({{"a", "7"}}) + event("DELETED", {"a", "8"}) + bookmark("100", true));
  EXPECT_FALSE(s.open);
  EXPECT_FALSE(s.machine.status().synced);
  s.pass_until_asked();
  EXPECT_TRUE(s.asks_watch_list());
}

TEST(WatchList, L7_a_version_that_the_server_has_not_reached_comes_as_an_event) {
  Script s;
  s.head(200);
  s.bytes(initial({{"a", "7"}}) + bookmark("207", true));
  s.bytes(error(410, "Expired"));
  s.pass_until_asked();
  EXPECT_EQ(s.revision_asked(), "207");
  s.head(200);
  // As kube-apiserver 1.36 says it.
  s.bytes(
      R"({"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":)"
      R"("Timeout: Too large resource version: 207, current: 200","reason":"Timeout","details":{"causes":[{"reason":)"
      R"("ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}})"
      "\n");
  EXPECT_EQ(s.names(), "a");
  s.pass_until_asked();
  EXPECT_TRUE(s.asks_watch_list());
  EXPECT_EQ(s.revision_asked(), "-");
  s.head(200);
  s.bytes(initial({{"b", "20"}}) + bookmark("200", true));
  EXPECT_EQ(s.names(), "b");
  EXPECT_EQ(s.machine.status().rollbacks, 1U);
}

TEST(WatchList, S5_the_first_one_is_of_now) {
  Script s;
  EXPECT_TRUE(s.asks_watch_list());
  EXPECT_EQ(s.revision_asked(), "-") << "without a version it is at least as new as now";
}

}  // namespace
}  // namespace podfence::test
