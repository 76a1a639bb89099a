// Every format on the same lines: golden/NAME; UPDATE_GOLDEN=1 rewrites the files. And what must hold of any line.
#include "enforcer/flow/format.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <sstream>

#include "enforcer/flow/fields.h"
#include "tests/enforcer/flow/hostile.h"
#include "tests/support/builders.h"
#include "tests/support/golden.h"

namespace podfence::flow {
namespace {

namespace fs = std::filesystem;
using podfence::test::ip;

TimePoint at(const char* text) {
  return parse_time(text).value();
}

FlowRecord denied() {
  FlowRecord record;
  record.time = at("2026-11-23T17:30:00.123456Z");
  record.end = at("2026-11-23T17:30:04.9Z");
  record.attribution = Attribution::set;
  record.policies = {{"db", "allow-api", "u-1", 4}, {"db", "deny-all", "u-2", 1}};
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
  record.source.k8s.labels = Labels{{"app", "web"}, {"app.kubernetes.io/part-of", "shop"}};
  record.destination.k8s.labels.emplace();
  return record;
}

FlowRecord reply() {
  FlowRecord record = denied();
  record.direction = net::Direction::egress;
  record.attribution = Attribution::stale;
  record.tcp_flags = 0x12;
  record.reply = true;
  record.count = 1;
  return record;
}

FlowRecord to_the_world() {
  FlowRecord record = denied();
  record.direction = net::Direction::egress;
  record.reason = Reason::fail_closed;
  record.attribution = Attribution::none;
  record.policies.clear();
  record.source = {EndpointType::unknown, ip("fd00::5"), {}, {}};
  record.destination = {EndpointType::world, ip("2001:db8::1"), {}, {}};
  record.family = net::Family::ipv6;
  record.protocol = net::icmpv6;
  record.tcp_flags = {};
  record.icmp_type = 128;
  record.icmp_code = 0;
  return record;
}

FlowRecord spoofed() {
  FlowRecord record = denied();
  record.direction = net::Direction::egress;
  record.reason = Reason::spoofed_source;
  record.policies.clear();
  record.source.ip = ip("192.0.2.1");
  record.destination = {EndpointType::node, ip("192.0.2.9"), net::Port{53}, {"", "", "", "", "", "node-b", ""}};
  record.protocol = net::udp;
  record.tcp_flags = {};
  return record;
}

FlowRecord foreign() {
  FlowRecord record = denied();
  record.verdict = Verdict::error;
  record.reason = Reason::unattributed;
  record.policies.clear();
  record.protocol = net::Protocol{47};
  record.tcp_flags = {};
  return record;
}

FlowRecord hostile() {
  FlowRecord record = denied();
  record.source.k8s.namespace_ = "a\nb\r\tc";
  record.source.k8s.pod = std::string("\x1b[2J\x7f\xc2\x85\xe2\x80\xa8") + '\0' + "\xff";
  record.source.k8s.workload = "\"},\"verdict\":\"allow\",{\"";
  record.destination.k8s.pod = "C:\\x\\u0041 \xe2\x80\xae\xf0\x9f\x98\x80";
  record.policies = {{"\n", "\x1b]0;title\x07", "'; DROP TABLE", 0}};
  record.interface = "ve\nth";
  record.source.k8s.labels = Labels{{"app", "\x1b[2J\n\xff=,"}};
  return record;
}

std::vector<std::string> native_lines() {
  const RecordWriter writer("node-a", "prod-1", "7f3c");
  const TimePoint written = at("2026-11-23T17:30:05.0001Z");
  std::vector<std::string> lines;
  for (const FlowRecord& record : {denied(), reply(), to_the_world(), spoofed(), foreign(), hostile()}) {
    lines.push_back(writer.line(record, lines.size() + 1, written));
  }
  lines.push_back(writer.line(LossRecord{written, written, "kernel_limit", 1312, true, 4021}, lines.size() + 1));
  lines.push_back(RecordWriter("n", "", "1").line(LossRecord{written, written, "sink:stdout", 3, false, {}}, 1));
  lines.push_back(writer.line(AgentRecord{written, "start", "version 1\n", {}, {}}, lines.size() + 1));
  DetectionRecord scan{written, "port_scan", Severity::high, denied().source, denied().destination};
  scan.destination->port = {};
  scan.evidence = {{"distinct_ports", 57}, {"window_s", 60}};
  scan.samples = {8701};
  lines.push_back(writer.line(scan, lines.size() + 1));
  DetectionRecord tamper{written, "agent_tamper", Severity::critical};
  tamper.detail = "table \"inet\"\n";
  tamper.by = "pid 1\x1b";
  lines.push_back(writer.line(tamper, lines.size() + 1));
  // What a later version may write.
  std::string later = lines.front();
  later.replace(later.find(R"("deny","action":"drop")"), 22, R"("allow","action":"accept")");
  lines.push_back(later);
  later = lines.front();
  later.replace(later.find(R"("deny")"), 6, R"("would_deny")");
  later.replace(later.find("default_deny"), 12, "explicit_deny");
  lines.push_back(later);
  for (std::string& line : lines) line.pop_back();  // the newline
  return lines;
}

void compare(const std::string& file, const std::string& text) {
  podfence::test::expect_golden(fs::path(PODFENCE_FLOW_GOLDEN_DIR) / file, text);
}

std::string all(Format format, std::size_t width = any_width) {
  std::string text;
  LineParser parser;
  for (const std::string& native : native_lines()) {
    const auto line = parser.parse(native);
    EXPECT_TRUE(line) << native;
    if (const auto written = formatted(format, *line, native, width)) text += *written + '\n';
  }
  return text;
}

TEST(Format, EachWritesWhatItDid) {
  compare("native.jsonl", all(Format::native));
  compare("hubble.jsonl", all(Format::hubble));
  compare("gke.jsonl", all(Format::gke));
  compare("ecs.jsonl", all(Format::ecs));
  compare("text.txt", all(Format::text));
  compare("text-80.txt", all(Format::text, 80));
}

// What holds of any line ------------------------------------------------------------------------------------------

bool holds_control(std::string_view text) {
  const bool c0 = std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  return c0 || text.find("\xe2\x80\xa8") != std::string_view::npos ||
         text.find("\xe2\x80\xa9") != std::string_view::npos || text.find("\xc2\x85") != std::string_view::npos ||
         text.find("\xc2\x9b") != std::string_view::npos;
}

/// Keys are unique, and texts are `printable` where that is asked for.
void check_value(simdjson::dom::element value, bool printable) {
  std::set<std::string> keys;
  if (value.is_object()) {
    for (const auto field : value.get_object()) {
      EXPECT_TRUE(keys.insert(std::string(field.key)).second) << field.key << " twice";
      check_value(field.value, printable);
    }
  } else if (value.is_array()) {
    for (const auto item : value.get_array()) check_value(item, printable);
  } else if (value.is_string() && printable) {
    const std::string_view text = value.get_string();
    EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; })) << text;
  }
}

void check_json(Format format, const std::string& text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  ASSERT_EQ(parser.parse(text).get(root), simdjson::SUCCESS) << text;
  EXPECT_TRUE(root.is_object());
  check_value(root, format == Format::hubble);
}

void check_line(const LoggedLine& line, std::size_t width) {
  for (const Format format : {Format::hubble, Format::gke, Format::ecs, Format::text}) {
    const auto text = formatted(format, line, {}, width);
    if (!text) continue;
    ASSERT_LT(text->size(), longest_line) << static_cast<int>(format);
    ASSERT_FALSE(holds_control(*text)) << *text;
    if (format != Format::text) check_json(format, *text);
  }
  const std::string text = text_line(line, width);
  EXPECT_LE(text.size(), width);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; })) << text;
}

LoggedLine any_line(std::mt19937_64& random) {
  const auto text = [&] { return test::hostile_text(random, random() % 8 == 0 ? 16384 : random() % 40); };
  const auto word = [&](std::vector<std::string> words) {
    return random() % 8 == 0 ? text() : words[random() % words.size()];
  };
  LoggedLine line;
  line.type = word({"flow", "flow", "flow", "loss", "agent", "detection"});
  line.verdict = word({"deny", "allow", "would_deny", "error"});
  line.reason = word({"default_deny", "explicit_deny", "fail_closed", "spoofed_source", "unattributed"});
  line.direction = word({"ingress", "egress", ""});
  line.family = word({"ipv4", "ipv6"});
  line.transport = word({"tcp", "udp", "icmp"});
  if (random() % 2 == 0) line.protocol = std::vector<std::uint64_t>{1, 6, 17, 58, 132, 47, 1000}[random() % 7];
  line.tcp_flags = word({"S", "FSRPAUEC"});
  for (auto* member : {&line.id, &line.node, &line.cluster, &line.action, &line.attribution, &line.interface,
                       &line.stage, &line.event, &line.detail}) {
    *member = text();
  }
  line.policies.resize(random() % 12);
  for (auto& policy : line.policies) policy = {text(), text(), text(), static_cast<std::int64_t>(random())};
  for (Endpoint* end : {&line.source, &line.destination}) {
    end->type = static_cast<EndpointType>(random() % 4);
    if (random() % 2 == 0) end->ip = ip("2001:db8::1");
    if (random() % 2 == 0) end->port = net::Port{static_cast<std::uint16_t>(random())};
    end->k8s = {text(), text(), text(), text(), text(), text(), text()};
    if (random() % 2 == 0) end->k8s.labels = Labels(random() % most_labels, {text(), text()});
  }
  for (auto n = random() % 12; n > 0; --n) line.evidence.emplace_back(text(), random());
  line.reply = random() % 2 == 0;
  line.count = random();
  line.bytes = random();
  line.lost = random();
  return line;
}

TEST(Format, WhateverALineHoldsItStaysOneLineOfItsFormat) {
  const char* given = std::getenv("PODFENCE_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 300 && !HasFailure(); ++i) check_line(any_line(random), 20 + random() % 300);
}

TEST(Format, TheLongestNamesOfTheWorstCharactersFit) {
  std::mt19937_64 random(1);
  LoggedLine line = any_line(random);
  line.type = "flow";
  const std::string worst(16384, '\x01');
  for (auto* member :
       {&line.id, &line.node, &line.cluster, &line.verdict, &line.reason, &line.interface, &line.transport})
    *member = worst;
  for (Endpoint* end : {&line.source, &line.destination}) {
    end->type = EndpointType::pod;
    end->k8s = {worst, worst, worst, worst, worst, worst, worst};
    end->k8s.labels = Labels(most_labels, {worst, worst});
  }
  line.policies.assign(8, {worst, worst, worst, 1});
  check_line(line, any_width);
  line.type = "agent";
  line.event = line.detail = worst;
  check_line(line, any_width);
}

TEST(Printable, EscapesAllButPrintableAscii) {
  EXPECT_EQ(printable("web-1 \"x\""), "web-1 \"x\"");
  EXPECT_EQ(printable("a\\b\n\x7f"), "a\\\\b\\u000a\\u007f");
  EXPECT_EQ(printable("\xc3\xa9 \xe2\x80\xae \xf0\x9f\x98\x80"), "\\u00e9 \\u202e \\U0001f600");
  EXPECT_EQ(printable("\xff\xc3|\xed\xa0\x80|\xc0\x80"), "\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd");
}

}  // namespace
}  // namespace podfence::flow
