#include "enforcer/flow/record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "enforcer/flow/history.h"
#include "tests/enforcer/flow/hostile.h"
#include "tests/support/builders.h"

namespace podfence::flow {
namespace {

using podfence::test::ip;
using test::hostile_text;

TimePoint at(const char* text) {
  return parse_time(text).value();
}

FlowRecord example() {
  FlowRecord record;
  record.time = at("2026-11-23T17:30:00.123456Z");
  record.end = at("2026-11-23T17:30:04.9Z");
  record.direction = net::Direction::ingress;
  record.attribution = Attribution::set;
  record.policies = {{"db", "allow-api", "u-1", 4}};
  record.source = {EndpointType::pod,
                   ip("10.0.1.5"),
                   net::Port{43210},
                   {"shop", "web-7d9f-x1", "u-web", "Deployment", "web", "node-b", ""}};
  record.destination = {EndpointType::pod,
                        ip("10.0.2.9"),
                        net::Port{5432},
                        {"db", "pg-0", "u-pg", "StatefulSet", "pg", "node-a", "postgres"}};
  record.family = net::Family::ipv4;
  record.protocol = net::tcp;
  record.tcp_flags = 0x02;
  record.interface = "veth1a2b";
  record.count = 14;
  record.bytes = 840;
  return record;
}

const RecordWriter writer("node-a", "prod-1", "7f3c");

TEST(FlowRecord, IsWrittenAsTheSchemaSays) {
  EXPECT_EQ(
      writer.line(example(), 8812, at("2026-11-23T17:30:05.0001Z")),
      R"({"schema":"podfence.flow/v1","type":"flow","id":"node-a:7f3c:8812","seq":8812,)"
      R"("time":"2026-11-23T17:30:00.123456Z","end":"2026-11-23T17:30:04.900000Z","observed":"2026-11-23T17:30:05.000100Z",)"
      R"("cluster":"prod-1","node":"node-a","reporter":"destination","direction":"ingress",)"
      R"("verdict":"deny","action":"drop","enforced":true,"reason":"default_deny","attribution":"set",)"
      R"("policies":[{"kind":"NetworkPolicy","namespace":"db","name":"allow-api","uid":"u-1","generation":4,"role":"selecting"}],)"
      R"("source":{"type":"pod","ip":"10.0.1.5","port":43210,"k8s":{"namespace":"shop","pod":"web-7d9f-x1",)"
      R"("pod_uid":"u-web","workload_kind":"Deployment","workload":"web","node":"node-b"}},)"
      R"("destination":{"type":"pod","ip":"10.0.2.9","port":5432,"k8s":{"namespace":"db","pod":"pg-0",)"
      R"("pod_uid":"u-pg","workload_kind":"StatefulSet","workload":"pg","node":"node-a","port_name":"postgres"}},)"
      R"("network":{"type":"ipv4","transport":"tcp","iana_number":6,"tcp_flags":"S"},)"
      R"("interface":"veth1a2b","count":14,"bytes":840})"
      "\n");
}

TEST(FlowRecord, LeavesOutWhatIsNotKnown) {
  FlowRecord record;
  record.time = record.end = at("2026-11-23T17:30:00Z");
  record.direction = net::Direction::egress;
  record.reason = Reason::fail_closed;
  record.source.ip = ip("fd00::5");
  record.destination = {EndpointType::world, ip("2001:db8::1"), {}, {}};
  record.family = net::Family::ipv6;
  record.protocol = net::icmpv6;
  record.icmp_type = 128;
  record.icmp_code = 0;
  record.count = 1;
  record.bytes = 104;
  EXPECT_EQ(
      RecordWriter("n", "", "1").line(record, 1, record.time),
      R"({"schema":"podfence.flow/v1","type":"flow","id":"n:1:1","seq":1,)"
      R"("time":"2026-11-23T17:30:00.000000Z","end":"2026-11-23T17:30:00.000000Z","observed":"2026-11-23T17:30:00.000000Z",)"
      R"("node":"n","reporter":"source","direction":"egress","verdict":"deny","action":"drop","enforced":true,)"
      R"("reason":"fail_closed","attribution":"none","source":{"type":"unknown","ip":"fd00::5"},)"
      R"("destination":{"type":"world","ip":"2001:db8::1"},)"
      R"("network":{"type":"ipv6","transport":"icmpv6","iana_number":58,"icmp_type":128,"icmp_code":0},"count":1,"bytes":104})"
      "\n");
}

TEST(FlowRecord, AMessageOfAForeignRuleClaimsNoVerdictOfOurs) {
  FlowRecord record = example();
  record.verdict = Verdict::error;
  record.reason = Reason::unattributed;
  record.policies.clear();
  const std::string line = writer.line(record, 1, record.time);
  EXPECT_NE(line.find(R"("verdict":"error","enforced":false,"reason":"unattributed")"), std::string::npos) << line;
  EXPECT_EQ(line.find("action"), std::string::npos);
  EXPECT_EQ(line.find("direction"), std::string::npos);
}

TEST(FlowRecord, NamesAtMostEightPoliciesAndSaysSo) {
  FlowRecord record = example();
  record.policies.assign(9, {"db", "p", "u", 1});
  const std::string line = writer.line(record, 1, record.time);
  const auto parsed = LineParser().parse(line);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->policies.size(), 8U);
  EXPECT_TRUE(parsed->policies_truncated);
  record.policies.resize(8);
  EXPECT_EQ(writer.line(record, 1, record.time).find("policies_truncated"), std::string::npos);
}

TEST(LossRecord, IsWrittenAsTheSchemaSays) {
  const LossRecord record{at("2026-11-23T17:30:00Z"), at("2026-11-23T17:30:05Z"), "nflog_seq_gap", 1312, true, 4021};
  EXPECT_EQ(writer.line(record, 8813),
            R"({"schema":"podfence.flow/v1","type":"loss","id":"node-a:7f3c:8813","seq":8813,)"
            R"("time":"2026-11-23T17:30:00.000000Z","end":"2026-11-23T17:30:05.000000Z","cluster":"prod-1",)"
            R"("node":"node-a","stage":"nflog_seq_gap","lost":1312,"exact":true,"group":4021})"
            "\n");
}

TEST(AgentRecord, IsWrittenAsTheSchemaSays) {
  const AgentRecord record{at("2026-11-23T17:30:00Z"), "policy_applied", "", PolicyRef{"db", "allow-api", "", 4}, 12};
  EXPECT_EQ(writer.line(record, 8814),
            R"({"schema":"podfence.flow/v1","type":"agent","id":"node-a:7f3c:8814","seq":8814,)"
            R"("time":"2026-11-23T17:30:00.000000Z","cluster":"prod-1","node":"node-a","event":"policy_applied",)"
            R"("policy":{"kind":"NetworkPolicy","namespace":"db","name":"allow-api","generation":4},"duration_ms":12})"
            "\n");
}

TEST(FlowRecord, HoldsTheLabelsThatWereAskedForAndSaysThatAPodHasNone) {
  FlowRecord record = example();
  EXPECT_EQ(writer.line(record, 1, record.time).find("labels"), std::string::npos) << "none by default";
  record.source.k8s.labels = Labels{{"app", "web"}, {"tier", std::string(60, 'x') + "\xc3\xa9\xc3\xa9\n"}};
  record.destination.k8s.labels.emplace();
  const auto line = writer.line(record, 1, record.time);
  EXPECT_NE(line.find(R"("port_name":"postgres","labels":{}})"), std::string::npos) << line;
  const auto parsed = LineParser().parse(line);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->source.k8s.labels, (Labels{{"app", "web"}, {"tier", std::string(60, 'x') + "\xc3\xa9"}}))
      << "63 bytes, and never half a character";
  EXPECT_EQ(parsed->destination.k8s.labels, Labels{});
}

TEST(FlowRecord, HostileNamesCannotBreakALine) {
  const char* given = std::getenv("PODFENCE_SEED");
  const auto seed = given != nullptr ? std::stoul(given) : std::random_device{}();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 400; ++round) {
    const auto text = [&] { return hostile_text(random, random() % 4 == 0 ? 20'000 : random() % 300); };
    FlowRecord record = example();
    record.policies.clear();
    for (int n = 0; n < 10; ++n) record.policies.push_back({text(), text(), text(), 1});
    for (Endpoint* end : {&record.source, &record.destination}) {
      end->k8s = {text(), text(), text(), text(), text(), text(), text()};
      end->k8s.labels.emplace();
      for (std::size_t n = 0; n < most_labels; ++n) end->k8s.labels->emplace_back(std::string(316, 'k'), text());
    }
    record.interface = text();
    const std::string line = RecordWriter(text(), text(), text()).line(record, 7, record.time);
    ASSERT_LE(line.size(), longest_line);
    ASSERT_EQ(line.back(), '\n');
    ASSERT_TRUE(std::all_of(line.begin(), line.end() - 1, [](unsigned char c) { return c >= 0x20 && c != 0x7f; }));
    const auto parsed = LineParser().parse(line);
    ASSERT_TRUE(parsed) << parsed.error().what();
    ASSERT_EQ(parsed->count, 14U);
    ASSERT_EQ(parsed->verdict, "deny");
  }
}

TEST(FlowRecord, LongNamesAreCutAtACharacter) {
  FlowRecord record = example();
  record.source.k8s.pod = std::string(255, 'a') + "\xc3\xa9";  // its last character begins at byte 255
  const auto parsed = LineParser().parse(writer.line(record, 1, record.time));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->source.k8s.pod, std::string(255, 'a'));
}

TEST(TcpFlags, AreLetters) {
  EXPECT_EQ(tcp_flag_letters(0x02), "S");
  EXPECT_EQ(tcp_flag_letters(0x12), "SA");
  EXPECT_EQ(tcp_flag_letters(0x19), "FPA");
  EXPECT_EQ(tcp_flag_letters(0), "");
}

TEST(Time, IsWrittenAndReadToTheMicrosecond) {
  EXPECT_EQ(text_of(TimePoint{}), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(text_of(at("2028-02-29T23:59:59.999999Z")), "2028-02-29T23:59:59.999999Z");
  EXPECT_EQ(text_of(at("2026-11-23T18:30:00+01:00")), "2026-11-23T17:30:00.000000Z");
  EXPECT_EQ(text_of(at("2026-11-23T17:30:00.5-00:30")), "2026-11-23T18:00:00.500000Z");
  EXPECT_EQ(compact_text_of(at("2026-11-23T17:30:00.000001Z")), "20261123T173000.000001Z");
  for (const char* wrong :
       {"", "now", "2026-11-23", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-23T24:00:00Z",
        "2026-11-23T17:30:00", "2026-11-23T17:30:00.Z", "2026-11-23T17:30:00Z ", "2026-11-23T17:30:00+1:00"}) {
    EXPECT_FALSE(parse_time(wrong)) << wrong;
  }
}

TEST(Time, SinceIsASpanOrATime) {
  const TimePoint now = at("2026-11-23T17:30:00Z");
  EXPECT_EQ(parse_since("90s", now), now - std::chrono::seconds(90));
  EXPECT_EQ(parse_since("5m", now), now - std::chrono::minutes(5));
  EXPECT_EQ(parse_since("2h", now), now - std::chrono::hours(2));
  EXPECT_EQ(parse_since("7d", now), now - std::chrono::hours(7 * 24));
  EXPECT_EQ(parse_since("2026-11-23T17:00:00Z", now), now - std::chrono::minutes(30));
  for (const char* wrong : {"", "5", "m", "-5m", "5 m", "5w", "99999999999999999999s"})
    EXPECT_FALSE(parse_since(wrong, now)) << wrong;
}

}  // namespace
}  // namespace podfence::flow
