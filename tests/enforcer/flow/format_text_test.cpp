#include "enforcer/flow/format.h"

#include <gtest/gtest.h>

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

TEST(TextLine, SaysLessInANarrowTerminalButAlwaysWhoDenied) {
  const std::string time = "11-23 17:30:00 ";
  EXPECT_EQ(text_line(line(), 139),
            time + "deny ingress shop/web 10.0.1.5:43210 -> db/pg 10.0.2.9:5432/tcp x14 by db/allow-api, db/deny-all");
  EXPECT_EQ(text_line(line(), 90), time + "deny ingress shop/web -> db/pg:5432/tcp x14 by db/allow-api, db/deny-all");
  EXPECT_EQ(text_line(line(), 80), time + "deny ingress shop/web -> db/pg:5432/tcp x14 by db/allow-api +1");
  EXPECT_EQ(text_line(line(), 72), time + "deny shop/web -> db/pg:5432/tcp x14 by db/allow-api +1");
  FlowRecord record = denied();
  record.source.k8s.pod = "checkout-service-5d8f7c9b4-x2x9q";
  record.destination.k8s.pod = "postgres-primary-0";
  record.policies.resize(1);
  EXPECT_EQ(text_line(line(record), 100),
            time + "deny shop/checkou..f7c9b4-x2x9q -> db/postgres-primary-0:5432/tcp x14 by db/allow-api");
  EXPECT_EQ(text_line(line(record), 80), time + "deny shop/c..x2x9q -> db/pos..ary-0:5432/tcp x14 by db/allow-api");
}

TEST(TextLine, HostileNamesStayInTheirLine) {
  FlowRecord record = denied();
  record.source.k8s.pod = "a\x1b[2J\nb\x7f";
  record.policies = {{"x\ny", "\r", "", 0}};
  const std::string text = text_line(line(record));
  for (const char c : text) EXPECT_TRUE(c >= 0x20 && c != 0x7f) << text;
}

}  // namespace
}  // namespace podfence::flow
