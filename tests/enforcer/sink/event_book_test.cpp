// What becomes an Event, when, and in which words.
#include "enforcer/sink/event_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <random>

#include "tests/enforcer/flow/hostile.h"

namespace podfence::sink {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const flow::TimePoint start = std::chrono::system_clock::time_point(1'700'000'000s);

net::IpAddr ip(const char* text) {
  return *net::IpAddr::parse(text);
}

flow::LoggedLine denied(const std::string& pod, std::uint16_t port, std::uint64_t count = 1) {
  flow::LoggedLine line;
  line.type = "flow";
  line.verdict = "deny";
  line.reason = "default_deny";
  line.direction = "ingress";
  line.transport = "tcp";
  line.time = line.end = start;
  line.count = count;
  line.policies = {{"db", "allow-api", "u", 1}};
  line.source = flow::Endpoint{flow::EndpointType::pod,
                               ip("10.0.1.5"),
                               net::Port{43210},
                               {"shop", "web-1", "uid-web", "Deployment", "web", "node-b", ""}};
  line.destination = flow::Endpoint{
      flow::EndpointType::pod, ip("10.0.2.9"), net::Port{port}, {"db", pod, "uid-" + pod, "", "", "node-a", ""}};
  return line;
}

struct Book : ::testing::Test {
  EventBook book{"node-a", "7f3c"};

  /// Everything that is to be asked now is asked, and answered with that status.
  std::vector<EventRequest> all(flow::TimePoint now, unsigned status = 201) {
    std::vector<EventRequest> asked;
    while (const auto call = book.next(true, now)) {
      asked.push_back(call->request);
      if (book.answered(*call, {.status = status}, now).again) break;
    }
    return asked;
  }
};

TEST_F(Book, one_event_for_what_is_the_same_and_its_series_later) {
  book.take(denied("pg-0", 5432), start);
  auto asked = all(start);
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].method + " " + asked[0].path, "POST /apis/events.k8s.io/v1/namespaces/db/events");
  EXPECT_THAT(asked[0].body, HasSubstr(R"("name":"pg-0.pf-7f3c-1")"));
  EXPECT_THAT(asked[0].body, testing::Not(HasSubstr("series")));
  auto other = denied("pg-0", 5432, 41);
  other.source.k8s.pod = "web-2";  // of the same workload
  book.take(other, start + 20s);
  EXPECT_TRUE(all(start + 20s).empty());
  EXPECT_TRUE(all(start + 599s).empty());
  asked = all(start + 600s, 200);
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].method + " " + asked[0].path, "PATCH /apis/events.k8s.io/v1/namespaces/db/events/pg-0.pf-7f3c-1");
  EXPECT_EQ(asked[0].body, R"({"series":{"count":42,"lastObservedTime":"2023-11-14T22:13:20.000000Z"}})");
  EXPECT_TRUE(all(start + 1300s).empty()) << "nothing new";
  book.forget(start + 2000s);
  EXPECT_EQ(book.size(), 0U);
}

TEST_F(Book, what_is_not_the_same_is_another_event) {
  const auto base = denied("pg-0", 5432);
  std::vector<flow::LoggedLine> lines(6, base);
  lines[1].destination.port = net::Port{5433};
  lines[2].direction = "egress", std::swap(lines[2].source, lines[2].destination);
  lines[3].policies[0].name = "other";
  lines[4].source.k8s.workload = "api";
  lines[5].source.type = flow::EndpointType::world;
  for (const auto& line : lines) book.take(line, start);
  EXPECT_EQ(all(start).size(), lines.size());
}

TEST_F(Book, only_denied_flows_of_pods_of_this_node) {
  std::vector<flow::LoggedLine> lines(6, denied("pg-0", 5432));
  lines[0].verdict = "allow";
  lines[1].type = "detection";
  lines[2].destination.k8s.node = "node-b";
  lines[3].destination.k8s.pod_uid = "";
  lines[4].destination.type = flow::EndpointType::unknown;
  lines[5].destination.k8s.namespace_ = "../../api/v1/namespaces/x";
  for (const auto& line : lines) book.take(line, start);
  EXPECT_TRUE(all(start).empty());
  EXPECT_EQ(book.take_lost().refused, 0U);
}

TEST_F(Book, buckets_for_each_pod_and_for_all_and_what_had_no_room_is_said) {
  for (std::uint16_t port = 1; port <= 25; ++port) book.take(denied("a", port), start);
  EXPECT_EQ(all(start).size(), 10U);
  EXPECT_EQ(book.take_lost().suppressed, 15U);
  book.take(denied("b", 1), start);
  EXPECT_EQ(all(start).size(), 1U) << "another pod has its own";
  book.take(denied("a", 100), start + 60s);
  const auto asked = all(start + 60s);
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_THAT(asked[0].body, HasSubstr("before it 15 records of this pod were not told"));
  EXPECT_EQ(book.take_lost().suppressed, 0U);
  std::size_t told = 0;
  for (int pod = 0; pod < 100; ++pod) {
    book.take(denied("p" + std::to_string(pod), 1), start + 1000s);
    told += all(start + 1000s).size();
  }
  EXPECT_LE(told, 31U);
  EXPECT_EQ(told + book.take_lost().suppressed, 100U);
}

TEST_F(Book, answers) {
  struct Row {
    unsigned status;
    bool again;
    std::uint64_t refused;
  };
  for (const Row& row : {Row{201, false, 0},
                         {409, false, 0},
                         {400, false, 1},
                         {403, false, 1},
                         {404, false, 1},
                         {422, false, 1},
                         {0, true, 0},
                         {401, true, 0},
                         {429, true, 0},
                         {500, true, 0},
                         {503, true, 0}}) {
    EventBook one("node-a", "7f3c");
    one.take(denied("pg-0", 1), start);
    const auto call = one.next(true, start);
    const auto judged = one.answered(*call, {.status = row.status, .retry_after = 7s}, start);
    EXPECT_EQ(judged.again, row.again) << row.status;
    EXPECT_EQ(judged.pause.has_value(), row.again) << row.status;
    EXPECT_EQ(one.take_lost().refused, row.refused) << row.status;
    EXPECT_EQ(judged.error.empty(), row.status == 201 || row.status == 409) << judged.error;
    const auto next = one.next(true, start);
    EXPECT_EQ(next.has_value(), row.again) << row.status;
    if (next) {
      EXPECT_EQ(next->request.body, call->request.body) << "the same name, so that it is there once";
    }
  }
}

TEST_F(Book, an_event_at_which_the_api_fails_does_not_hold_up_the_others) {
  book.take(denied("pg-0", 1), start);
  book.take(denied("pg-0", 2), start);
  for (int i = 0; i < 4; ++i) {
    const auto call = book.next(true, start);
    EXPECT_TRUE(book.answered(*call, {.status = 500}, start).again);
  }
  EXPECT_FALSE(book.answered(*book.next(true, start), {.status = 500}, start).again);
  EXPECT_EQ(book.take_lost().refused, 1U);
  EXPECT_THAT(book.next(true, start)->request.body, HasSubstr("TCP port 2,"));
}

TEST_F(Book, an_event_that_has_expired_begins_anew) {
  book.take(denied("pg-0", 1), start);
  all(start);
  book.take(denied("pg-0", 1), start + 1s);
  EXPECT_EQ(all(start + 600s, 404).at(0).method, "PATCH");
  auto later = denied("pg-0", 1);
  later.end = start + 700s;
  book.take(later, start + 700s);
  EXPECT_THAT(all(start + 700s).at(0).body, HasSubstr("pg-0.pf-7f3c-2"));
}

TEST_F(Book, old_records_are_no_news) {
  book.take(denied("pg-0", 1), start + 3601s);
  EXPECT_FALSE(book.next(true, start + 3601s));
  EXPECT_EQ(book.take_lost().refused, 1U);
}

TEST(EventNote, says_who_where_and_by_which_policy) {
  auto line = denied("pg-0", 5432);
  EXPECT_EQ(event_note(line, 0),
            "Connection from shop/web-1 (Deployment web, 10.0.1.5) to db/pg-0 (10.0.2.9), TCP port 5432, dropped on "
            "ingress; denied by NetworkPolicy db/allow-api");
  line.reply = true;
  line.policies = {};
  line.source = flow::Endpoint{flow::EndpointType::world, ip("2001:db8::1"), {}, {}};
  EXPECT_EQ(
      event_note(line, 2),
      "Answers of a connection from 2001:db8::1 to db/pg-0 (10.0.2.9), TCP port 5432, dropped on ingress; reason: "
      "default_deny; before it 2 records of this pod were not told: too many at once");
  line.policies.assign(8, {std::string(63, 'n'), std::string(253, 'p'), "", 0});
  EXPECT_LE(event_note(line, 2).size(), 1024U);
  EXPECT_THAT(event_note(line, 2), HasSubstr(" more"));
}

TEST(EventHostile, whatever_a_record_holds_it_is_one_line_of_json_within_the_limits) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto text = [&] { return flow::test::hostile_text(random, random() % 300); };
    auto line = denied("pg-0", 1);
    line.source.k8s = {text(), text(), text(), text(), text(), text(), text()};
    line.destination.k8s.pod_uid = "uid" + text();
    line.transport = text();
    line.reason = text();
    line.policies.assign(random() % 9, {text(), text(), text(), 1});
    EventBook book(std::string(300, 'n') + text(), "7f3c");
    line.destination.k8s.node = "";
    book.take(line, start);
    const auto call = book.next(true, start);
    ASSERT_TRUE(call);
    for (const unsigned char c : call->request.body) ASSERT_TRUE(c >= ' ' && c != 0x7f);
    simdjson::dom::parser parser;
    const simdjson::dom::element event = parser.parse(call->request.body);
    EXPECT_LE(event["note"].get_string().value().size(), 1024U);
    EXPECT_LE(event["reportingInstance"].get_string().value().size(), 128U);
    const auto judged = book.answered(*call, {.status = 422, .body = R"({"message":"\u001b[31m\n"})"}, start);
    for (const unsigned char c : judged.error) ASSERT_TRUE(c >= ' ' && c != 0x7f) << judged.error;
  }
}

}  // namespace
}  // namespace podfence::sink
