// LIST: rows L1 to L14. A test's name begins with its row.
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

TEST(List, L1_first_from_the_cache_then_from_what_was_seen_then_from_the_database) {
  Script s;
  s.refuse_watch_list();
  EXPECT_EQ(s.revision_asked(), "0");
  s.answer(200, list_of({{"a", "5"}}, "100"));
  s.answer(410, status(410, "Expired"));  // the watch
  s.pass_until_asked();
  EXPECT_TRUE(s.asks_list());
  EXPECT_EQ(s.revision_asked(), "100");
  s.answer(410, status(410, "Expired"));
  s.pass_until_asked();
  EXPECT_EQ(s.revision_asked(), "-");
  s.answer(200, list_of({{"a", "5"}}, "200"));
  s.answer(410, status(410, "Expired"));
  s.pass_until_asked();
  EXPECT_EQ(s.revision_asked(), "200") << "the flag is cleared by success";
  EXPECT_EQ(s.machine.status().expired, 3U);
}

TEST(List, L3_a_limit_never_goes_with_a_version) {
  Script s;
  s.refuse_watch_list();
  for (int i = 0; i < 3; ++i) {
    s.answer(429, status(429, "TooManyRequests"));
    s.pass_until_asked();
  }
  EXPECT_EQ(s.parameter("limit"), "500");
  EXPECT_EQ(s.revision_asked(), "-");  // Script::check looks at every request of every test
}

TEST(List, L4_first_as_a_watch_then_whole_then_in_pages) {
  Script s;
  EXPECT_TRUE(s.asks_watch_list());
  s.refuse_watch_list();
  EXPECT_TRUE(s.asks_list());
  EXPECT_EQ(s.parameter("limit"), "-");
  s.answer(504, status(504, "Timeout"));
  s.pass_until_asked();
  EXPECT_EQ(s.parameter("limit"), "-") << "once is an accident";
  s.answer(429, status(429, "TooManyRequests"));
  s.pass_until_asked();
  s.answer(504, status(504, "Timeout"));
  s.pass_until_asked();
  EXPECT_EQ(s.parameter("limit"), "500");
  s.answer(200, list_of({{"a", "1"}}, "100", R"(,"continue":"x/y==","remainingItemCount":1)"));
  EXPECT_EQ(s.parameter("continue"), "x%2Fy%3D%3D");
  EXPECT_FALSE(s.machine.status().synced);
  s.answer(200, list_of({{"b", "2"}}, "100"));
  EXPECT_EQ(s.names(), "a b");
  EXPECT_TRUE(s.asks_watch());
  EXPECT_EQ(s.revision_asked(), "100");
}

/// A reflector that lists in pages and has had two of them.
void two_pages(Script& s) {
  s.refuse_watch_list();
  for (int i = 0; i < 3; ++i) {
    s.answer(429, status(429, "TooManyRequests"));
    s.pass_until_asked();
  }
  s.answer(200, list_of({{"a", "1"}}, "100", R"(,"continue":"one")"));
  s.answer(200, list_of({{"b", "2"}}, "100", R"(,"continue":"two")"));
}

TEST(List, L5_a_page_that_has_expired_ends_in_one_whole_list) {
  Script s;
  two_pages(s);
  const auto before = s.asked.size();
  s.answer(410, status(410, "Expired"));
  s.pass_until_asked();
  EXPECT_EQ(s.names(), "") << "no half of a list is applied";
  EXPECT_EQ(s.parameter("limit"), "-");
  EXPECT_EQ(s.parameter("continue"), "-");
  s.answer(200, list_of({{"c", "3"}}, "120"));
  EXPECT_EQ(s.names(), "c");
  EXPECT_EQ(s.asked.size(), before + 2) << "one list, then the watch";
}

TEST(List, L5_the_first_page_that_has_expired_begins_anew) {
  Script s;
  s.refuse_watch_list();
  for (int i = 0; i < 3; ++i) {
    s.answer(429, status(429, "TooManyRequests"));
    s.pass_until_asked();
  }
  s.answer(410, status(410, "Expired"));
  s.pass_until_asked();
  EXPECT_EQ(s.parameter("limit"), "500");
  EXPECT_EQ(s.parameter("continue"), "-");
}

TEST(List, L6_a_list_that_is_cut_anywhere_changes_nothing) {
  const auto body = list_of({{"a", "7", "new"}, {"c", "8"}}, "200");
  for (std::size_t cut = 0; cut < body.size(); ++cut) {
    if (body.substr(cut) == "\n") continue;  // whole
    for (const bool whole : {false, true}) {
      Script s;
      s.sync({{"a", "1"}, {"b", "2"}}, "100");
      s.bytes(error(410, "Expired"));
      s.pass_until_asked();
      ASSERT_TRUE(s.asks_list());
      s.head(200);
      s.bytes(body.substr(0, cut));
      s.end(whole);
      ASSERT_EQ(s.names(), "a b") << cut;
      ASSERT_EQ(s.label("a"), "x") << cut;
      ASSERT_EQ(s.cursor(), "100") << cut;
      s.pass_until_asked();
      s.answer(200, body);
      ASSERT_EQ(s.names(), "a c");
      ASSERT_EQ(s.label("a"), "new") << "what was staged from the broken list is not taken for known";
    }
  }
}

TEST(List, L7_a_version_that_the_server_has_not_reached_is_asked_of_the_database) {
  Script s;
  s.sync({{"a", "1"}}, "100");
  s.bytes(error(410, "Expired"));
  s.pass_until_asked();
  s.answer(504, status(504, "Timeout",
                       R"({"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],)"
                       R"("retryAfterSeconds":1})"));
  EXPECT_LE(s.pass_until_asked(), 2s) << "the wait is for that version; nobody waits for it any more";
  EXPECT_EQ(s.revision_asked(), "-");
}

TEST(List, L8_the_wait_that_the_server_names_is_kept) {
  Script s;
  s.refuse_watch_list();
  s.answer(429, status(429, "TooManyRequests"), 17s);
  const auto waited = s.pass_until_asked();
  EXPECT_GE(waited, 17s);
  EXPECT_LE(waited, 22s);
}

TEST(List, L9_a_list_from_a_server_that_is_behind_is_not_taken) {
  Script s;
  s.sync({{"a", "90"}}, "100");
  s.bytes(event("ADDED", {"b", "120"}));
  s.bytes(error(410, "Expired"));
  s.pass_until_asked();
  s.answer(200, list_of({{"a", "80"}}, "99"));
  EXPECT_EQ(s.names(), "a b");
  EXPECT_EQ(s.cursor(), "120");
  s.pass_until_asked();
  EXPECT_EQ(s.revision_asked(), "120");
  s.answer(200, list_of({{"a", "90"}, {"b", "120"}}, "1000"));
  EXPECT_EQ(s.cursor(), "1000") << "longer is later";
}

TEST(List, L10_neither_the_order_of_fields_nor_of_items_matters) {
  const auto item = PodText{"a", "5"}.json(false);
  for (const std::string& body :
       {R"({"items":[)" + item + R"(],"metadata":{"resourceVersion":"100"},"kind":"PodList","apiVersion":"v1"})",
        R"({"apiVersion":"v1","items":[)" + item + R"(],"kind":"PodList","metadata":{"resourceVersion":"100"}})",
        "{ \"metadata\" : {\"selfLink\":\"\",\"resourceVersion\":\"100\"} ,\n\"extra\":[1,{\"items\":[2]}],\"items\" : "
        "[ " +
            item + " ] }"}) {
    Script s;
    s.refuse_watch_list();
    s.answer(200, body);
    EXPECT_EQ(s.names(), "a") << body;
    EXPECT_EQ(s.cursor(), "100");
  }
  Script s;
  s.refuse_watch_list();
  s.answer(200, R"({"kind":"PodList","metadata":{"resourceVersion":"100"},"items":null})");
  EXPECT_TRUE(s.machine.status().synced) << "no items is a list, too";
}

TEST(List, L11_a_refusal_is_no_empty_list) {
  for (const unsigned code : {400U, 401U, 403U, 404U, 500U, 302U}) {
    Script fresh;
    fresh.refuse_watch_list();
    fresh.answer(code, code == 404 ? "404 page not found" : status(static_cast<int>(code), "No"));
    EXPECT_FALSE(fresh.machine.status().synced) << code;
    EXPECT_FALSE(fresh.machine.status().error.empty());
    EXPECT_EQ(fresh.unauthorized, code == 401);
    Script s;
    s.sync({{"a", "1"}}, "100");
    s.bytes(error(410, "Expired"));
    s.pass_until_asked();
    s.answer(code, status(static_cast<int>(code), "No"));
    EXPECT_EQ(s.names(), "a") << code;
    EXPECT_EQ(s.machine.status().state == State::absent, code == 404);
  }
  for (const char* body : {"{}", R"({"items":[]})", R"({"metadata":{"resourceVersion":"100"}})", "[]", "null", "",
                           R"({"kind":"Status","metadata":{"resourceVersion":"100"},"items":[]})"}) {
    Script s;
    s.refuse_watch_list();
    s.answer(200, body);
    EXPECT_FALSE(s.machine.status().synced) << body;
  }
}

TEST(List, L11_an_api_that_may_be_absent_counts_as_empty_unless_it_was_there) {
  auto resource = pods();
  resource.required = false;
  Script never(resource);
  never.answer(404, "404 page not found");
  EXPECT_TRUE(never.machine.status().synced);
  EXPECT_EQ(never.machine.status().state, State::absent);
  const auto again = never.pass_until_asked();
  EXPECT_GE(again, 30s);
  EXPECT_LE(again, 60s);
  never.refuse_watch_list();
  never.answer(200, list_of({{"a", "1"}}, "100"));
  EXPECT_EQ(never.names(), "a");
  never.answer(404, "404 page not found");
  EXPECT_EQ(never.names(), "a") << "what was there stays";
  EXPECT_EQ(never.machine.status().state, State::absent);
}

TEST(List, L13_at_the_start_a_cache_is_better_than_nothing) {
  Script s;
  EXPECT_EQ(s.revision_asked(), "-");
  s.pass(17s);
  s.answer(500, status(500, "InternalError"));
  s.pass_until_asked();
  EXPECT_TRUE(s.asks_list());
  EXPECT_EQ(s.revision_asked(), "0");
  s.answer(200, list_of({{"a", "1"}}, "100"));
  EXPECT_TRUE(s.machine.status().synced);
  EXPECT_TRUE(s.machine.status().possibly_stale);
  s.head(200);
  s.bytes(bookmark("100"));
  EXPECT_TRUE(s.machine.status().possibly_stale) << "a cache sends bookmarks without its database";
  s.bytes(event("ADDED", {"b", "101"}));
  EXPECT_FALSE(s.machine.status().possibly_stale);
}

TEST(List, L14_a_list_may_take_long_but_not_be_silent_for_long) {
  const auto body = list_of({{"a", "1"}}, "100");
  Script s;
  s.refuse_watch_list();
  s.head(200);
  for (const char c : body) {
    s.pass(29s);
    ASSERT_TRUE(s.open) << "it makes progress";
    s.bytes(std::string(1, c));
  }
  s.end();
  EXPECT_EQ(s.names(), "a");
  Script silent;
  silent.refuse_watch_list();
  silent.head(200);
  silent.bytes(body.substr(0, 50));
  silent.pass(29s);
  EXPECT_TRUE(silent.open);
  silent.pass(1s);
  EXPECT_FALSE(silent.open);
}

TEST(List, W17_one_that_is_compressed_is_no_list) {
  Script s;
  s.head(200, "application/json", {}, "gzip");  // of the list as a watch
  EXPECT_FALSE(s.open);
  s.pass_until_asked();
  s.refuse_watch_list();
  ASSERT_TRUE(s.asks_list());
  s.head(200, "application/vnd.kubernetes.protobuf", {}, "gzip");
  EXPECT_FALSE(s.open);
  EXPECT_FALSE(s.machine.status().synced);
  EXPECT_NE(s.machine.status().error.find("Content-Encoding 'gzip'"), std::string::npos);
  s.pass_until_asked();
  s.answer(200, list_of({{"a", "1"}}, "100"));
  EXPECT_EQ(s.names(), "a");
}

}  // namespace
}  // namespace podfence::test
