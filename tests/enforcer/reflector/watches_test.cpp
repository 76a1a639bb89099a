// WATCH: rows W1 to W18. A test's name begins with its row.
#include <random>

#include "enforcer/reflector/revision.h"
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

/// Synced with pod a at 100, and watching.
struct Watching : Script {
  Watching() { sync({{"a", "1"}}, "100"); }
};

TEST(Watch, W1_the_time_of_a_watch_is_drawn_evenly) {
  std::mt19937 generator(1);
  int below_half = 0;
  for (int i = 0; i < 1000; ++i) {
    Script s(pods(), std::uniform_real_distribution<double>(0, 1)(generator));
    s.sync({}, "100");
    const int seconds = std::stoi(s.parameter("timeoutSeconds"));
    ASSERT_GE(seconds, 300);
    ASSERT_LT(seconds, 600);
    below_half += seconds < 450 ? 1 : 0;
  }
  EXPECT_GT(below_half, 400);
  EXPECT_LT(below_half, 600);
}

TEST(Watch, W2_a_watch_that_hears_nothing_is_given_up_when_its_time_is_over) {
  Script s(pods(), 0);
  s.sync({{"a", "1"}}, "100");
  const auto asked = s.asked.size();
  s.pass(304s);
  EXPECT_EQ(s.asked.size(), asked);
  s.pass(2s);
  EXPECT_EQ(s.asked.size(), asked + 1);
  EXPECT_TRUE(s.asks_watch());
  EXPECT_EQ(s.revision_asked(), "100");
  s.pass(69500ms);
  EXPECT_FALSE(s.open) << "nor does one without a head stay open";
}

TEST(Watch, W3_a_bookmark_moves_the_cursor_and_nothing_else) {
  Watching s;
  const auto before = s.events;
  s.bytes(bookmark("150"));
  EXPECT_EQ(s.cursor(), "150");
  EXPECT_EQ(s.events, before);
  s.end();
  EXPECT_EQ(s.revision_asked(), "150");
  s.head(200);
  s.pass(299s);
  EXPECT_TRUE(s.open) << "a server that sends none is fine";
}

TEST(Watch, W4_the_cursor_follows_every_event_that_was_handed_over) {
  Watching s;
  s.bytes(event("ADDED", {"b", "101"}));
  EXPECT_EQ(s.cursor(), "101");
  s.bytes(event("MODIFIED", {"b", "102", "y"}));
  EXPECT_EQ(s.cursor(), "102");
  s.bytes(event("DELETED", {"b", "103", "y"}));
  EXPECT_EQ(s.cursor(), "103") << "the version of a deletion is its own";
  EXPECT_EQ(s.names(), "a");
  s.bytes(event("ADDED", {"c", "104"}).substr(0, 60));
  s.end(false);
  EXPECT_EQ(s.cursor(), "103") << "half an event was not handed over";
  EXPECT_EQ(s.revision_asked(), "103");
  s.head(200);
  s.bytes(event("ADDED", {"c", "104"}));
  EXPECT_EQ(s.names(), "a c");
}

TEST(Watch, W5_after_an_end_it_goes_on_at_once_but_not_after_very_short_ones) {
  Watching s;
  s.pass(10s);
  s.end();
  EXPECT_TRUE(s.asks_watch()) << "at once";
  const auto began = s.now;
  std::size_t connects = 0;
  while (s.now - began < 60s) {
    if (s.open) {
      ++connects;
      s.head(200);
      s.end();
    }
    s.pass(100ms);
  }
  EXPECT_LE(connects, 8U);
  EXPECT_GE(connects, 3U);
  EXPECT_EQ(s.machine.status().lists, 1U);
}

TEST(Watch, W6_an_expired_cursor_lists_again_and_takes_nothing_away_before) {
  for (const bool as_event : {true, false}) {
    Watching s;
    if (as_event) {
      s.bytes(error(410, "Expired"));
    } else {
      s.pass(2s);
      s.end(false);
      s.answer(410, status(410, "Expired"));
    }
    EXPECT_EQ(s.names(), "a");
    EXPECT_GT(s.pass_until_asked(), 0s) << "not all agents at once";
    EXPECT_TRUE(s.asks_list());
    EXPECT_EQ(s.revision_asked(), "100");
    EXPECT_EQ(s.names(), "a");
    s.answer(410, status(410, "Expired"));
    s.pass_until_asked();
    EXPECT_EQ(s.revision_asked(), "-");
    EXPECT_EQ(s.machine.status().expired, 2U);
    s.answer(200, list_of({{"b", "300"}}, "300"));
    EXPECT_EQ(s.names(), "b");
    EXPECT_EQ(s.revision_asked(), "300");
  }
}

TEST(Watch, W6_a_cursor_that_expires_again_and_again_is_a_failure) {
  Watching s;
  const auto began = s.now;
  std::size_t lists = 0;
  for (; s.now - began < 2min; ++lists) {
    s.bytes(error(410, "Expired"));
    s.pass_until_asked();
    ASSERT_TRUE(s.asks_list());
    s.answer(200, list_of({{"a", "1"}}, "100"));
    s.head(200);
  }
  EXPECT_LT(lists, 12U);
}

TEST(Watch, W7_what_an_error_event_says_decides) {
  struct Row {
    int code;
    bool lists;
  };
  for (const auto& [code, lists] : {Row{400, true}, Row{403, true}, Row{404, true}, Row{410, true}, Row{429, false},
                                    Row{500, false}, Row{503, true}, Row{504, true}}) {
    Watching s;
    s.bytes(error(code, "Some"));
    EXPECT_FALSE(s.open) << code;
    EXPECT_GE(s.pass_until_asked(), code == 410 ? 200ms : 800ms) << code;
    EXPECT_EQ(s.asks_list(), lists) << code;
    EXPECT_EQ(s.asks_watch(), !lists) << code;
    EXPECT_EQ(s.revision_asked(), "100") << code;
    EXPECT_EQ(s.names(), "a");
  }
  Watching s;
  const auto began = s.now;
  while (s.asks_watch() && s.now - began < 10min) {
    s.head(200);
    s.bytes(error(500, "InternalError"));
    s.pass_until_asked();
  }
  EXPECT_TRUE(s.asks_list()) << "not for ever";
  EXPECT_GE(s.now - began, 1min);
}

TEST(Watch, W8_a_server_that_is_away_for_a_while_is_not_asked_for_a_list) {
  Watching s;
  s.pass(2s);
  s.end(false);
  const auto lists = s.lists_asked();
  const auto began = s.now;
  std::size_t tries = 0;
  for (; s.now - began < 10min; s.pass_until_asked(), ++tries) {
    if (tries % 3 == 0) {
      s.answer(429, "", 5s);
    } else if (tries % 3 == 1) {
      s.answer(503, "unavailable");
    } else {
      s.end(false);  // refused
    }
  }
  EXPECT_EQ(s.lists_asked(), lists);
  EXPECT_LT(tries, 30U);
  EXPECT_TRUE(s.asks_watch());
  EXPECT_EQ(s.names(), "a");
  s.head(200);
  s.bytes(event("ADDED", {"b", "101"}));
  EXPECT_EQ(s.names(), "a b");
  EXPECT_EQ(s.machine.status().error, "");
}

TEST(Watch, W9_a_watch_that_is_cut_goes_on_from_its_cursor) {
  Watching s;
  s.bytes(event("ADDED", {"b", "110"}));
  s.pass(5s);
  EXPECT_EQ(s.machine.status().state, State::watching);
  s.end(false);
  EXPECT_TRUE(s.asks_watch());
  EXPECT_EQ(s.machine.status().state, State::waiting) << "until the server answers";
  EXPECT_EQ(s.machine.status().error, "cut");
  EXPECT_EQ(s.revision_asked(), "110");
}

TEST(Watch, W11_a_watch_that_a_server_ends_for_slowness_is_an_end_and_perhaps_an_expired_cursor) {
  Watching s;
  s.pass(40s);
  s.end(true);
  EXPECT_TRUE(s.asks_watch());
  s.head(200);
  s.bytes(error(410, "Expired"));
  s.pass_until_asked();
  EXPECT_TRUE(s.asks_list());
  EXPECT_EQ(s.names(), "a");
}

TEST(Watch, W12_whatever_the_event_is_called_the_last_one_counts) {
  Watching s;
  s.bytes(event("ADDED", {"a", "101", "y"}));  // known
  EXPECT_EQ(s.label("a"), "y");
  s.bytes(event("MODIFIED", {"b", "102"}));  // unknown
  EXPECT_EQ(s.names(), "a b");
  const auto before = s.events;
  s.bytes(event("MODIFIED", {"b", "102"}));  // twice
  s.bytes(event("DELETED", {"nobody", "103"}));
  EXPECT_EQ(s.events, before);
  s.bytes(event("ADDED", {"b", "104", "z", "another"}));  // made anew under its name
  s.bytes(event("DELETED", {"b", "105", "x", "uid-b"}));  // the late end of the old one
  EXPECT_EQ(s.label("b"), "z");
  s.bytes(event("DELETED", {"b", "106", "z", "another"}));
  EXPECT_EQ(s.names(), "a");
}

TEST(Watch, W13_never_from_nothing) {
  Script s;
  s.refuse_watch_list();
  s.answer(200, list_of({}, ""));
  EXPECT_FALSE(s.machine.status().synced) << "a list without a version is none to watch from";
  s.pass_until_asked();
  s.answer(200, list_of({}, "7"));
  EXPECT_TRUE(s.asks_watch());  // Script::check looks at the version of every watch
}

TEST(Watch, W15_what_is_not_known_is_counted_and_passed_over) {
  Watching s;
  s.bytes(event("RENAMED", {"b", "101"}));
  s.bytes(R"({"type":"ADDED","object":{"kind":"Secret","metadata":{"name":"c","resourceVersion":"102"}}})");
  s.bytes(R"({"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"d","namespace":"shop"}}})");
  EXPECT_TRUE(s.open);
  EXPECT_EQ(s.names(), "a");
  EXPECT_EQ(s.cursor(), "100");
  EXPECT_EQ(s.machine.status().skipped, 3U);
  s.bytes(event("ADDED", {"e", "103"}));
  EXPECT_EQ(s.names(), "a e");
}

TEST(Watch, W16_events_may_be_cut_anywhere) {
  const auto stream =
      event("ADDED", {"b", "101", "}\\\"{"}) + event("MODIFIED", {"a", "102", "y"}) + event("DELETED", {"b", "103"});
  for (std::size_t i = 0; i <= stream.size(); ++i) {
    for (std::size_t j = i; j <= stream.size(); j += 7) {
      Watching s;
      s.bytes(stream.substr(0, i));
      s.bytes(stream.substr(i, j - i));
      s.bytes(stream.substr(j));
      ASSERT_EQ(s.names(), "a") << i << " " << j;
      ASSERT_EQ(s.label("a"), "y");
      ASSERT_EQ(s.cursor(), "103");
    }
  }
}

TEST(Watch, W16_what_is_too_long_or_no_event_ends_the_connection_and_lists_again) {
  for (const std::string& garbage :
       {std::string("garbage\n"), std::string("[1]"), std::string(R"({"type":"ADDED","object":{]}})"),
        std::string("{}"),
        R"({"type":"ADDED","object":{"kind":"Pod","x":")" + std::string(reflector::longest_value, 'x')}) {
    Watching s;
    s.bytes(garbage);
    EXPECT_FALSE(s.open) << garbage.substr(0, 50);
    s.pass_until_asked();
    EXPECT_TRUE(s.asks_list());
    EXPECT_EQ(s.names(), "a");
  }
}

TEST(Watch, W18_a_server_that_stops_is_asked_again_after_the_wait_and_not_by_all_at_once) {
  reflector::Duration waited[2];
  for (const int i : {0, 1}) {
    Script s(pods(), i);
    s.sync({{"a", "1"}}, "100");
    s.pass(2s);
    s.end();
    s.answer(429, "", 5s);
    waited[i] = s.pass_until_asked();
    EXPECT_TRUE(s.asks_watch());
  }
  EXPECT_GE(waited[0], 5s);
  EXPECT_GT(waited[1], waited[0] + 500ms);
}

TEST(Watch, W17_what_is_compressed_though_nobody_asked_is_no_answer) {
  Watching s;
  for (const bool cut : {true, false}) {
    s.end(!cut);
    s.pass_until_asked();
    ASSERT_TRUE(s.asks_watch());
    s.head(200, "application/json", {}, "gzip");
    EXPECT_FALSE(s.open) << "nothing of it is read";
    EXPECT_EQ(s.machine.status().error, "answers with Content-Encoding 'gzip', which was not asked for");
    EXPECT_EQ(s.notes.back(), "pods: " + s.machine.status().error);
    EXPECT_EQ(s.names() + " " + s.cursor(), "a 100");
    EXPECT_GT(s.pass_until_asked(), 500ms) << "after a pause";
    s.head(200, "application/json", {}, "identity");
    EXPECT_TRUE(s.open);
    EXPECT_EQ(s.machine.status().error, "");
  }
}

TEST(Watch, W17_a_refusal_that_is_compressed_is_judged_by_its_status) {
  Watching s;
  s.end();
  s.pass_until_asked();
  s.head(410, "application/json", {}, "gzip");
  EXPECT_FALSE(s.open);
  EXPECT_EQ(s.machine.status().error, "answered 410: a text with Content-Encoding 'gzip'");
  s.pass_until_asked();
  EXPECT_FALSE(s.asks_watch()) << "expired";
  EXPECT_EQ(s.names(), "a");
}

TEST(Watch, an_answer_in_another_encoding_is_none) {
  Watching s;
  s.pass(2s);
  s.end();
  s.head(200, "text/html");
  EXPECT_FALSE(s.open);
  s.pass_until_asked();
  EXPECT_TRUE(s.asks_watch());
}

TEST(Revision, is_compared_as_a_number_of_any_length) {
  EXPECT_TRUE(reflector::compare_revisions("99", "100") < 0);
  EXPECT_TRUE(reflector::compare_revisions("18446744073709551616", "18446744073709551615") > 0);
  EXPECT_TRUE(reflector::compare_revisions("7", "7") == 0);
}

}  // namespace
}  // namespace podfence::test
