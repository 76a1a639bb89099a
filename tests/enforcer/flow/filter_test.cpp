#include "enforcer/flow/filter.h"

#include <gtest/gtest.h>

#include "tests/enforcer/flow/files.h"
#include "tests/support/builders.h"

namespace podfence::flow {
namespace {

using podfence::test::ip;

TimePoint at(const char* text) {
  return parse_time(text).value();
}

LoggedLine parsed(const std::string& json) {
  return LineParser().parse(json).value();
}

FlowRecord denied() {
  FlowRecord record;
  record.time = at("2026-11-23T17:30:00.123456Z");
  record.end = at("2026-11-23T17:30:04Z");
  record.attribution = Attribution::set;
  record.policies = {{"db", "allow-api", "u", 4}, {"db", "deny-all", "v", 1}};
  record.source = {EndpointType::pod, ip("10.0.1.5"), net::Port{43210}, {"shop", "web", "", "", "", "", ""}};
  record.destination = {EndpointType::pod, ip("10.0.2.9"), net::Port{5432}, {"db", "pg", "", "", "", "", ""}};
  record.family = net::Family::ipv4;
  record.protocol = net::tcp;
  record.count = 14;
  return record;
}

std::string json_of(const FlowRecord& record) {
  return RecordWriter("n1", "", "i").line(record, 1, record.end);
}
LoggedLine line(const FlowRecord& record = denied()) {
  return parsed(json_of(record));
}
LoggedLine loss() {
  const LossRecord record{at("2026-11-23T17:30:00Z"), at("2026-11-23T17:30:05Z"), "kernel_limit", 1312, true, {}};
  return parsed(RecordWriter("n1", "", "i").line(record, 2));
}

TEST(EndpointFilter, TakesPodsNamespacesAddressesAndBlocks) {
  const LoggedLine record = line();
  const auto matches = [&](const char* text) {
    const auto filter = parse_endpoint_filter(text);
    EXPECT_TRUE(filter) << text;
    return filter && filter->matches(record.source);
  };
  for (const char* text : {"shop/web", "shop/", "10.0.1.5", "10.0.1.0/24", "0.0.0.0/0"})
    EXPECT_TRUE(matches(text)) << text;
  for (const char* text : {"shop/we", "shop/web2", "sho/", "db/", "10.0.1.6", "10.0.2.0/24", "::/0"}) {
    EXPECT_FALSE(matches(text)) << text;
  }
  for (const char* text : {"", "web", "/web", "a/b/c", "10.0.1"}) EXPECT_FALSE(parse_endpoint_filter(text)) << text;
}

TEST(Filter, EveryConditionMustHold) {
  const LoggedLine record = line();
  Filter filter;
  EXPECT_TRUE(filter.matches(record));
  filter.deny = true;
  filter.from = {parse_endpoint_filter("x/").value(), parse_endpoint_filter("shop/web").value()};
  filter.to = {parse_endpoint_filter("10.0.2.9").value()};
  filter.port = net::Port{5432};
  filter.policy = "db/deny-all";
  filter.since = at("2026-11-23T17:30:04Z");
  EXPECT_TRUE(filter.matches(record));
  const auto without = [&](auto change) {
    Filter other = filter;
    change(other);
    return other.matches(record);
  };
  EXPECT_FALSE(without([](Filter& f) { f.from = {parse_endpoint_filter("db/").value()}; }));
  EXPECT_FALSE(without([](Filter& f) { f.to = {parse_endpoint_filter("shop/").value()}; }));
  EXPECT_FALSE(without([](Filter& f) { f.port = net::Port{5433}; }));
  EXPECT_FALSE(without([](Filter& f) { f.policy = "shop/deny-all"; }));
  EXPECT_TRUE(without([](Filter& f) { f.policy = "allow-api"; }));
  EXPECT_FALSE(without([](Filter& f) { f.since = at("2026-11-23T17:30:04.000001Z"); }));
}

TEST(Filter, LossesAreAlwaysShownBecauseTheyMayBeWhatWasLookedFor) {
  Filter filter;
  filter.deny = true;
  filter.from = {parse_endpoint_filter("shop/").value()};
  EXPECT_TRUE(filter.matches(loss()));
  filter.since = at("2026-11-23T18:00:00Z");
  EXPECT_FALSE(filter.matches(loss()));
}

TEST(TextLine, IsReadableAndNamesThePolicies) {
  EXPECT_EQ(
      text_line(line()),
      "2026-11-23 17:30:00.123 deny ingress shop/web 10.0.1.5:43210 -> db/pg 10.0.2.9:5432/tcp x14 by db/allow-api, "
      "db/deny-all");
  FlowRecord record = denied();
  record.policies.clear();
  record.reason = Reason::fail_closed;
  record.source = {EndpointType::world, ip("2001:db8::1"), net::Port{9}, {}};
  record.destination = {EndpointType::unknown, ip("fd00::9"), {}, {}};
  record.count = 1;
  EXPECT_EQ(text_line(line(record)),
            "2026-11-23 17:30:00.123 deny ingress [2001:db8::1]:9 -> unknown fd00::9/tcp (fail_closed)");
  EXPECT_EQ(text_line(loss()),
            "2026-11-23 17:30:00.000 LOST 1312 denied packets that no record tells of (kernel_limit)");
}

TEST(TextLine, HostileNamesStayInTheirLine) {
  FlowRecord record = denied();
  record.source.k8s.pod = "a\x1b[2J\nb\x7f";
  record.policies = {{"x\ny", "\r", "", 0}};
  const std::string text = text_line(line(record));
  for (const char c : text) EXPECT_TRUE(c >= 0x20 && c != 0x7f) << text;
}

TEST(ReadHistory, ReadsRotatedFilesFirstAndStopsWhenTold) {
  const test::Directory directory;
  const std::string log = directory.file("flows.jsonl");
  std::filesystem::create_directory(directory.file("rotated"));
  const auto write = [](const std::string& file, std::uint64_t first, std::uint64_t last) {
    std::ofstream out(file);
    for (; first <= last; ++first) {
      FlowRecord record = denied();
      record.count = first;
      out << json_of(record);
    }
  };
  write(rotated_path(log, at("2026-11-23T10:00:00Z")), 1, 2);
  write(rotated_path(log, at("2026-11-23T11:00:00Z")), 3, 4);
  write(directory.file("rotated/flows-notes.jsonl"), 90, 90);
  write(log, 5, 6);
  std::ofstream(log, std::ios::app) << "not json\n{\"schema\":\"other\"}\n" << json_of(denied()).substr(0, 100);
  std::string seen;
  const auto skipped = read_history(log, {}, [&](const LoggedLine& l, std::string_view json) {
    seen += std::to_string(l.count) + " ";
    return json.back() == '}';
  });
  ASSERT_TRUE(skipped);
  EXPECT_EQ(seen, "1 2 3 4 5 6 ");
  EXPECT_EQ(*skipped, 2U);
  int calls = 0;
  ASSERT_TRUE(read_history(log, {}, [&](const LoggedLine&, std::string_view) { return ++calls < 3; }));
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(
      read_history(directory.file("none.jsonl"), {}, [](const LoggedLine&, std::string_view) { return true; }));
}

TEST(Follower, ShowsNewLinesAcrossARotation) {
  const test::Directory directory;
  const std::string log = directory.file("flows.jsonl");
  const auto append = [&](std::uint64_t count) {
    FlowRecord record = denied();
    record.count = count;
    std::ofstream(log, std::ios::app) << json_of(record);
  };
  append(1);
  Follower follower(log, {});
  std::string seen;
  const auto poll = [&] {
    ASSERT_TRUE(follower.poll([&](const LoggedLine& l, std::string_view) { seen += std::to_string(l.count) + " "; }));
  };
  poll();
  append(2);
  poll();
  append(3);
  std::filesystem::create_directory(directory.file("rotated"));
  std::filesystem::rename(log, rotated_path(log, at("2026-11-23T10:00:00Z")));
  poll();
  append(4);
  poll();
  poll();
  EXPECT_EQ(seen, "2 3 4 ");
}

}  // namespace
}  // namespace podfence::flow
