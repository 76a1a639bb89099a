// Hostile texts in every place where one can stand, through every form in which records leave: each stays one line that
// parses, without control characters, and what it held can still be told.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <functional>

#include "enforcer/flow/fields.h"
#include "enforcer/flow/format.h"
#include "enforcer/flow/record.h"
#include "enforcer/sink/event_book.h"
#include "enforcer/sink/otlp.h"
#include "enforcer/sink/syslog.h"
#include "policy/base/json_writer.h"

namespace podfence::sink {
namespace {

using namespace std::chrono_literals;
using flow::FlowRecord;
using flow::Format;

const flow::TimePoint start = std::chrono::system_clock::time_point(1'700'000'000s);

/// Texts from an A to a tilde: what is cut keeps the first, everything else both.
struct Hostile {
  const char* what;
  std::string text;
};
std::vector<Hostile> hostile_texts() {
  return {{"plain", "A-~"},
          {"newline", "A\n~"},
          {"carriage return", "A\r\n~"},
          {"escape sequence", "A\x1b[2J\x1b]0;t\x07~"},
          {"NUL", std::string("A\0~", 3)},
          {"all control bytes", "A\x01\x02\x03\x04\x05\x06\x08\x0b\x0c\x0e\x0f\x10\x1f\x7f~"},
          {"C1 control", "A\xc2\x85\xc2\x9b 31m~"},
          {"no UTF-8", "A\xff\xfe\xc3(\xed\xa0\x80~"},
          {"line separators", "A\xe2\x80\xa8\xe2\x80\xa9~"},
          {"bidi", "A\xe2\x80\xae\xe2\x81\xa6~"},
          {"quotes", R"(A","verdict":"allow","x":"~)"},
          {"backslash", R"(A\\n\"\u0041\~)"},
          {"markup and format", "A</script>%s%n${x}'; DROP TABLE--~"},
          {"300 characters", "A" + std::string(300, 'x') + "~"},
          {"300 of the widest",
           [] {
             std::string text = "A";
             for (int i = 0; i < 300; ++i) text += "\xf0\x9f\x98\x80";
             return text + "~";
           }()},
          {"empty", ""}};
}

struct Written {
  FlowRecord record;
  std::string node = "node-a";
  std::string cluster = "prod";
};

/// Where a text can stand, and which forms show it: n = native, h = hubble, g = gke, e = ecs, t = text, v = Event.
struct Place {
  const char* name;
  std::function<void(Written&, const std::string&)> put;
  std::string shown;
};
std::vector<Place> places() {
  using W = Written;
  using S = std::string;
  const auto source = [](W& w) -> flow::K8s& { return w.record.source.k8s; };
  return {{"namespace", [=](W& w, const S& t) { source(w).namespace_ = t; }, "nhgetv"},
          {"pod", [=](W& w, const S& t) { source(w).pod = t; }, "nhgetv"},
          {"pod uid", [=](W& w, const S& t) { source(w).pod_uid = t; }, "ne"},
          {"workload kind", [=](W& w, const S& t) { source(w).workload_kind = t; }, "nhgev"},
          {"workload", [=](W& w, const S& t) { source(w).workload = t; }, "nhgev"},
          {"node of a pod", [=](W& w, const S& t) { source(w).node = t; }, "ne"},
          {"label",
           [=](W& w, const S& t) {
             source(w).labels = flow::Labels{{"app", t}};
           },
           "nhe"},
          {"port name", [](W& w, const S& t) { w.record.destination.k8s.port_name = t; }, "ne"},
          {"policy namespace", [](W& w, const S& t) { w.record.policies[0].namespace_ = t; }, "nhgetv"},
          {"policy", [](W& w, const S& t) { w.record.policies[0].name = t; }, "nhgetv"},
          {"policy uid", [](W& w, const S& t) { w.record.policies[0].uid = t; }, "ne"},
          {"interface", [](W& w, const S& t) { w.record.interface = t; }, "nhe"},
          {"node", [](W& w, const S& t) { w.node = t; }, "nhge"},
          {"cluster", [](W& w, const S& t) { w.cluster = t; }, "nhe"}};
}

Written denied() {
  Written written;
  FlowRecord& record = written.record;
  record.time = record.end = start;
  record.attribution = flow::Attribution::set;
  record.policies = {{"db", "allow-api", "u-1", 4}};
  record.source = {flow::EndpointType::pod,
                   net::IpAddr::v4(10, 0, 1, 5),
                   net::Port{43210},
                   {"shop", "web-1", "u-web", "Deployment", "web", "node-b", ""}};
  record.destination = {flow::EndpointType::pod,
                        net::IpAddr::v4(10, 0, 2, 9),
                        net::Port{5432},
                        {"db", "pg-0", "u-pg", "StatefulSet", "pg", "", "postgres"}};
  record.family = net::Family::ipv4;
  record.protocol = net::tcp;
  record.interface = "veth1";
  record.count = 14;
  return written;
}

/// A line of the log with what a protocol puts before it.
constexpr std::size_t with_header = flow::longest_line + 512;

/// One line of that size at most, without control characters, those of C1 and other ends of lines.
void expect_one_line(std::string_view line, std::size_t most = flow::longest_line) {
  EXPECT_LT(line.size(), most);
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    ASSERT_TRUE(byte >= 0x20 && byte != 0x7f) << "byte " << i << " of " << line;
    if (byte == 0xc2 && i + 1 < line.size()) {
      ASSERT_GE(static_cast<unsigned char>(line[i + 1]), 0xa0) << line;
    }
  }
  EXPECT_EQ(line.find("\xe2\x80\xa8"), std::string_view::npos);
  EXPECT_EQ(line.find("\xe2\x80\xa9"), std::string_view::npos);
}

/// All texts in a JSON value, one after the other.
void collect(simdjson::dom::element value, std::string& texts) {
  std::string_view text;
  simdjson::dom::array array;
  simdjson::dom::object object;
  if (value.get(text) == simdjson::SUCCESS) texts.append(text).push_back('\n');
  if (value.get(array) == simdjson::SUCCESS) {
    for (const auto item : array) collect(item, texts);
  }
  if (value.get(object) == simdjson::SUCCESS) {
    for (const auto field : object) collect(field.value, texts);
  }
}

std::string texts_of(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  std::string texts;
  const auto error = parser.parse(json.data(), json.size()).get(root);
  EXPECT_EQ(error, simdjson::SUCCESS) << json;
  if (error == simdjson::SUCCESS) collect(root, texts);
  return texts;
}

/// A reader gets to see of the text its beginning and, unless it was cut, its end.
void expect_told(std::string_view shown, const std::string& text, const std::string& form) {
  if (text.empty()) return;
  const auto first = flow::printable(text).substr(0, 2);  // of what becomes visible, one character more
  EXPECT_TRUE(shown.find(first) != std::string_view::npos || shown.find(text.substr(0, 2)) != std::string_view::npos ||
              shown.find("A\xef\xbf\xbd") != std::string_view::npos)
      << form << " does not tell " << first << ": " << shown;
  if (text.size() <= flow::longest_label_value) {
    EXPECT_NE(shown.find('~'), std::string_view::npos) << form << ": " << shown;
  }
}

class HostileNames : public ::testing::Test {
 protected:
  /// Every form of one record. `told`: the forms that show `text`.
  static void check(const std::string& native, const std::string& text, const std::string& told) {
    ASSERT_TRUE(native.ends_with('\n'));
    const std::string json = native.substr(0, native.size() - 1);
    const auto line = flow::LineParser().parse(json);
    ASSERT_TRUE(line) << line.error().what() << ": " << json;
    EXPECT_EQ(line->verdict, "deny") << json;
    check_formats(*line, json, text, told);
    check_sinks(*line, json, text, told);
  }

  static void check_formats(const flow::LoggedLine& line, const std::string& json, const std::string& text,
                            const std::string& told) {
    for (const auto& [format, letter] :
         {std::pair(Format::native, 'n'), std::pair(Format::hubble, 'h'), std::pair(Format::gke, 'g'),
          std::pair(Format::ecs, 'e'), std::pair(Format::text, 't')}) {
      const auto out = flow::formatted(format, line, json);
      ASSERT_TRUE(out);
      expect_one_line(*out);
      const auto shown = format == Format::text ? *out : texts_of(*out);
      if (format == Format::hubble) expect_one_line(shown.substr(0, shown.find('\n')));
      if (told.find(letter) != std::string::npos) expect_told(shown, text, std::string(1, letter));
    }
  }

  static void check_sinks(const flow::LoggedLine& line, const std::string& json, const std::string& text,
                          const std::string& told) {
    const auto message = syslog_message(line.node, json);
    expect_one_line(message, with_header);
    EXPECT_TRUE(message.ends_with(" podfence - flow - " + json)) << message;

    std::string entry = journal_entry(json);
    EXPECT_NE(entry.find("\nPODFENCE_RECORD=" + json + "\n"), std::string::npos);
    ASSERT_TRUE(entry.ends_with('\n'));
    for (std::size_t at = 0; at < entry.size();) {
      const auto end = entry.find('\n', at);
      const auto field = std::string_view(entry).substr(at, end - at);
      expect_one_line(field, with_header);
      EXPECT_TRUE(field.starts_with("MESSAGE=") || field.starts_with("PRIORITY=") ||
                  field.starts_with("SYSLOG_IDENTIFIER=") || field.starts_with("PODFENCE_"))
          << field;
      at = end + 1;
    }

    OtlpSettings settings;
    settings.node = line.node;
    settings.cluster = line.cluster;
    const auto otlp = otlp_json(settings, {json});
    expect_one_line(otlp, SIZE_MAX);  // a request, not a line
    EXPECT_NE(texts_of(otlp).find(json), std::string::npos) << "the body is the record";

    EventBook book("node-a", "7f3c");
    book.take(line, start);
    const auto call = book.next(true, start);
    ASSERT_TRUE(call);
    expect_one_line(call->request.body);
    expect_one_line(call->request.path);
    expect_one_line(event_note(line, 1));
    if (told.find('v') != std::string::npos) expect_told(texts_of(call->request.body), text, "v");
  }
};

TEST_F(HostileNames, StayInTheirPlaceInEveryForm) {
  for (const Place& place : places()) {
    for (const Hostile& hostile : hostile_texts()) {
      SCOPED_TRACE(std::string(hostile.what) + " as " + place.name);
      Written written = denied();
      place.put(written, hostile.text);
      const flow::RecordWriter writer(written.node, written.cluster, "7f3c");
      check(writer.line(written.record, 1, start), hostile.text, place.shown);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(HostileNames, InEveryPlaceAtOnceStillFit) {
  for (const Hostile& hostile : hostile_texts()) {
    SCOPED_TRACE(hostile.what);
    Written written = denied();
    for (const Place& place : places()) place.put(written, hostile.text);
    written.record.source.k8s.labels = flow::Labels(flow::most_labels, {std::string(317, 'k'), hostile.text});
    written.record.policies.assign(flow::most_policies, written.record.policies[0]);
    const flow::RecordWriter writer(written.node, written.cluster, "7f3c");
    check(writer.line(written.record, 1, start), hostile.text, "n");
  }
}

/// A log that somebody else wrote can hold anything where an address stands, or a word of ours.
TEST_F(HostileNames, InALogOfSomebodyElseAreNoAddressAndNoWord) {
  const Written written = denied();
  const auto line = flow::RecordWriter("node-a", "prod", "7f3c").line(written.record, 1, start);
  for (const std::string field : {R"("ip":"10.0.1.5")", R"("transport":"tcp")", R"("reason":"default_deny")",
                                  R"("tcp_flags":"S")", R"("direction":"ingress")"}) {
    for (const Hostile& hostile : hostile_texts()) {
      const auto at = line.find(field);
      if (at == std::string::npos) continue;
      SCOPED_TRACE(std::string(hostile.what) + " in " + field);
      std::string json;
      JsonWriter(json).value(hostile.text);
      std::string changed = line;
      changed.replace(at, field.size(), field.substr(0, field.find(':') + 1) + json);
      check(changed, "", "");
    }
  }
}

}  // namespace
}  // namespace podfence::sink
