#include "policy/api/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <istream>
#include <optional>
#include <streambuf>

#include "policy/api/yaml_scalar.h"
#include "policy/base/json_writer.h"

namespace podfence::api {
namespace {

constexpr std::string_view core_tag = "tag:yaml.org,2002:";

/// Leaves the parser from inside of an event.
struct Refused {
  Error error;
};

std::string at_line(std::size_t line) {
  return "line " + std::to_string(line) + ": ";
}

[[noreturn]] void refuse(Errc code, const YAML::Mark& mark, const std::string& what) {
  throw Refused{Error(code, at_line(static_cast<std::size_t>(mark.line) + 1) + what)};
}

/// A stream over bytes that somebody else holds.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): the get area is never written to
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

class JsonHandler : public YAML::EventHandler {
 public:
  /// `start` is where the document before this one began, or -1.
  JsonHandler(const Limits& limits, YamlDocument& out, int& start) : limits_(limits), out_(out), start_(start) {}

  bool empty() const { return out_.json.empty(); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // The library goes on for ever with empty documents at a token that it cannot start one with, such as "}".
    if (mark.pos == start_) refuse(Errc::invalid, mark, "not the start of a document");
    start_ = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(Errc::invalid, mark, "an alias (*name) is not accepted: write the value out");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    if (expects_key()) refuse(Errc::invalid, mark, "a key is missing or null: expected a string");
    begin_value(mark);
    out_.json += "null";
    end_value();
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& text) override {
    const Scalar scalar = resolve(mark, tag, text);
    if (expects_key()) return put_key(mark, tag, scalar, text);
    begin_value(mark);
    if (scalar.type == ScalarType::string) {
      append_json_string(out_.json, text);
    } else {
      out_.json += scalar.json;
    }
    end_value();
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    begin_container(mark, tag, "seq", false);
  }
  void OnSequenceEnd() override { end_container(']'); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    begin_container(mark, tag, "map", true);
  }
  void OnMapEnd() override { end_container('}'); }

 private:
  struct Level {
    bool map = false;
    bool key_next = false;
    bool first = true;
    std::size_t node = 0;
  };

  bool expects_key() const { return !levels_.empty() && levels_.back().map && levels_.back().key_next; }

  void count(const YAML::Mark& mark) {
    if (++events_ > limits_.nodes) refuse(Errc::limit, mark, "more than " + std::to_string(limits_.nodes) + " values");
  }

  void separate() {
    if (!levels_.back().first) out_.json += ',';
    levels_.back().first = false;
  }

  void begin_value(const YAML::Mark& mark) {
    count(mark);
    if (!levels_.empty() && !levels_.back().map) separate();
    out_.lines.push_back(
        {static_cast<std::uint32_t>(mark.line) + 1, static_cast<std::uint32_t>(out_.lines.size()) + 1});
  }

  void end_value() {
    if (!levels_.empty() && levels_.back().map) levels_.back().key_next = true;
  }

  void put_key(const YAML::Mark& mark, const std::string& tag, const Scalar& scalar, const std::string& text) {
    count(mark);
    if (tag == "?" && text == "<<")
      refuse(Errc::invalid, mark, "a merge key (<<) is not accepted: write the fields out");
    if (scalar.type == ScalarType::null) refuse(Errc::invalid, mark, "a key is null: expected a string");
    separate();
    append_json_string(out_.json, scalar.type == ScalarType::string ? std::string_view(text) : scalar.json);
    out_.json += ':';
    levels_.back().key_next = false;
  }

  void begin_container(const YAML::Mark& mark, const std::string& tag, std::string_view type, bool map) {
    if (expects_key()) refuse(Errc::invalid, mark, "a map or a list is no key: expected a string");
    if (tag != "?" && tag != "!" && tag != std::string(core_tag).append(type)) {
      refuse(Errc::invalid, mark, "the tag " + tag + " is not accepted here");
    }
    if (levels_.size() >= limits_.depth) {
      refuse(Errc::limit, mark, "nested deeper than " + std::to_string(limits_.depth) + " levels");
    }
    begin_value(mark);
    out_.json += map ? '{' : '[';
    levels_.push_back({map, map, true, out_.lines.size() - 1});
  }

  void end_container(char close) {
    out_.json += close;
    out_.lines[levels_.back().node].next = static_cast<std::uint32_t>(out_.lines.size());
    levels_.pop_back();
    end_value();
  }

  /// "?" marks a plain scalar, "!" a quoted one or a block; otherwise the tag says the type and the text must fit it.
  static Scalar resolve(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
    if (tag == "!" || tag == std::string(core_tag) + "str") return {};
    Scalar scalar = resolve_plain(text);
    const auto must_be = [&](std::string_view name, ScalarType type) {
      return tag == std::string(core_tag).append(name) && scalar.type == type;
    };
    const bool fits = tag == "?" || must_be("null", ScalarType::null) || must_be("bool", ScalarType::boolean) ||
                      must_be("int", ScalarType::integer) || must_be("float", ScalarType::floating);
    if (!fits) refuse(Errc::invalid, mark, "the tag " + tag + " is not accepted here");
    return scalar;
  }

  const Limits& limits_;
  YamlDocument& out_;
  int& start_;
  std::vector<Level> levels_;
  std::size_t events_ = 0;
};

/// The YAML library ends its input silently at byte 4, and no control character is allowed in YAML anyway.
Result<> check_bytes(std::string_view text) {
  std::size_t line = 1;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '\n') ++line;
    if (byte == 0x7f || (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r')) {
      return fail(Errc::invalid, at_line(line) + "a control character (byte " + std::to_string(byte) + ")");
    }
  }
  return {};
}

}  // namespace

struct YamlReader::State {
  State(std::string_view bytes, const Limits& of) : text(bytes), limits(of), buffer(bytes), stream(&buffer) {}

  std::string_view text;
  Limits limits;
  ViewBuffer buffer;
  std::istream stream;
  std::optional<YAML::Parser> parser;
  int start = -1;
};

YamlReader::YamlReader(std::string_view text, const Limits& limits) : state_(std::make_unique<State>(text, limits)) {}
YamlReader::~YamlReader() = default;

Result<bool> YamlReader::next(YamlDocument& document) {
  document.json.clear();
  document.lines.clear();
  try {
    if (!state_->parser) {
      if (state_->text.size() > state_->limits.bytes) {
        return fail(Errc::limit, "larger than " + std::to_string(state_->limits.bytes) + " bytes");
      }
      if (auto checked = check_bytes(state_->text); !checked) return fail(std::move(checked).error());
      state_->parser.emplace(state_->stream);
    }
    JsonHandler handler(state_->limits, document, state_->start);
    if (!state_->parser->HandleNextDocument(handler)) return false;
    if (handler.empty()) document.json = "null";
    return true;
  } catch (const Refused& refused) {
    return fail(refused.error);
  } catch (const YAML::Exception& e) {
    return fail(Errc::invalid, at_line(static_cast<std::size_t>(e.mark.line) + 1) + e.msg);
  }
}

}  // namespace podfence::api
