// Pauses and the budget: rows B1, B2, B4 and B5. B3 needs a checkpoint, which there is none of yet.
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

using reflector::Backoff;
using reflector::Budget;
using reflector::Time;

TEST(Pace, B1_pauses_double_up_to_a_minute_and_begin_anew_after_quiet) {
  Backoff backoff;
  Time now{};
  double expected = 0.8;
  for (int i = 0; i < 10; ++i) {
    const auto least = Backoff(backoff).next(now, [] { return 0.0; });
    const auto most = Backoff(backoff).next(now, [] { return 0.999999; });
    EXPECT_NEAR(std::chrono::duration<double>(least).count(), expected, 0.001);
    EXPECT_NEAR(std::chrono::duration<double>(most).count(), 2 * expected, 0.001);
    now += backoff.next(now, [] { return 0.5; });
    expected = std::min(30.0, expected * 2);
  }
  now += 119s;
  EXPECT_GE(Backoff(backoff).next(now, [] { return 0.0; }), 30s);
  now += 2s;
  EXPECT_EQ(backoff.next(now, [] { return 0.0; }), 800ms);
}

TEST(Pace, B2_a_wait_that_the_server_names_is_kept_with_any_server_error) {
  for (const unsigned code : {429U, 500U, 502U, 503U, 504U}) {
    Script s;
    s.sync({{"a", "1"}}, "100");
    s.pass(2s);
    s.end();
    s.answer(code, "later", 20s);
    const auto waited = s.pass_until_asked();
    EXPECT_GE(waited, 20s) << code;
    EXPECT_LE(waited, 25s) << code;
  }
  Script s;
  s.refuse_watch_list();
  s.answer(429, "", 1s);
  s.pass_until_asked();
  s.answer(429, "", 1s);
  s.pass_until_asked();
  s.answer(429, "", 1s);
  EXPECT_GE(s.pass_until_asked(), 3s) << "the own pause, where it is longer";
  s.answer(503, "", std::chrono::hours(100));
  EXPECT_LE(s.pass_until_asked(), 10min) << "but nobody is sent away for days";
}

TEST(Pace, B4_who_was_throttled_as_what_is_told) {
  Script s;
  s.refuse_watch_list();
  s.perform(s.machine.on_response_head({429, "application/json", 1s, "flow-schema-uid"}, s.now));
  s.end();
  EXPECT_NE(s.notes.back().find("flow-schema-uid"), std::string::npos);
}

TEST(Pace, B5_one_request_a_second_in_the_long_run_and_twenty_four_at_once) {
  Budget budget;
  Time now{};
  const auto requests_until = [&](Time until, Budget::For what) {
    int count = 0;
    while (now < until) {
      const auto later = budget.admit(now, what);
      if (!later) ++count;
      if (later) now = *later;
    }
    return count;
  };
  EXPECT_EQ(requests_until(Time() + 100ms, Budget::For::watch), 24);
  const int later = requests_until(Time() + 101s, Budget::For::watch);
  EXPECT_GE(later, 98);
  EXPECT_LE(later, 101);
  now += 3s;
  const auto wait = budget.admit(now, Budget::For::audit);
  EXPECT_TRUE(wait && *wait > now) << "what can wait leaves some to others";
  EXPECT_FALSE(budget.admit(now, Budget::For::watch));
}

TEST(Pace, B5_five_lists_at_a_time) {
  Budget budget;
  Time now{};
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(budget.admit(now, Budget::For::list));
  EXPECT_TRUE(budget.admit(now, Budget::For::list));
  EXPECT_FALSE(budget.admit(now, Budget::For::watch));
  budget.list_ended();
  EXPECT_FALSE(budget.admit(now, Budget::For::list));
}

TEST(Pace, B5_a_list_gives_its_place_back_however_it_ends) {
  Script s;
  const auto free_places = [&] {
    reflector::Budget copy = s.budget;
    int free = 0;
    while (!copy.admit(s.now + 1h, Budget::For::list)) ++free;
    return free;
  };
  EXPECT_EQ(free_places(), 4);
  s.end(false);
  EXPECT_EQ(free_places(), 5);
  s.pass_until_asked();
  s.refuse_watch_list();
  EXPECT_EQ(free_places(), 4) << "the list instead";
  s.head(200);
  s.pass(31s);  // silent
  EXPECT_EQ(free_places(), 5);
  s.pass_until_asked();
  s.head(200, "text/html");
  EXPECT_EQ(free_places(), 5);
  s.pass_until_asked();
  s.answer(200, list_of({}, "100"));
  EXPECT_EQ(free_places(), 5) << "a watch takes none";
}

}  // namespace
}  // namespace podfence::test
