#include "policy/api/decode.h"

#include <algorithm>

#include "policy/api/duplicate_keys.h"
#include "policy/api/parts.h"
#include "policy/api/pool.h"
#include "policy/api/yaml_reader.h"

namespace podfence::api {
namespace {

namespace dom = simdjson::dom;

constexpr std::string_view policy_version = "networking.k8s.io/v1";

struct KindName {
  std::string_view kind;
  std::string_view list;
  std::string_view version;
  Kind is;
};
constexpr std::array<KindName, 4> kinds{
    KindName{"Namespace", "NamespaceList", "v1", Kind::namespace_},
    KindName{"Node", "NodeList", "v1", Kind::node},
    KindName{"Pod", "PodList", "v1", Kind::pod},
    KindName{"NetworkPolicy", "NetworkPolicyList", policy_version, Kind::network_policy},
};

/// Whether an apiVersion is another version of the group that the kind belongs to, or a group it was in before.
bool is_same_group(const KindName& kind, std::string_view version) {
  if (kind.is != Kind::network_policy) return version.find('/') == std::string_view::npos;
  return version.starts_with("networking.k8s.io/") || version.starts_with("extensions/") ||
         version.find('/') == std::string_view::npos;
}

class Decoder {
 public:
  explicit Decoder(std::string_view file) : report_(file) {}

  Result<> document(const Value& root, std::size_t number) {
    if (auto twice = find_duplicate_key(root)) return fail(*std::move(twice));
    document_ = number;
    report_.enter(document_, 0);
    if (!root.given()) return {};  // an empty document
    object(root, nullptr);
    return {};
  }

  Decoded take() { return {std::move(objects_), report_.take()}; }

 private:
  /// `implied` is the kind of a typed list's items, which need not repeat it.
  void object(const Value& value, const KindName* implied) {
    if (!value.is_object()) {
      return report_.error(value, value.shown() + " is no object: expected a map with apiVersion, kind and metadata");
    }
    const Value kind = value.get("kind");
    const Value version = value.get("apiVersion");
    if (implied != nullptr && !kind.given() && !version.given()) return read(value, *implied);
    if (!kind.is_string()) return report_.error(kind, kind.shown() + " is not a kind: expected a string");
    if (!version.is_string())
      return report_.error(version, version.shown() + " is not an apiVersion: expected a string");
    if (kind.string() == "List" && version.string() == "v1") return list(value, nullptr);
    for (const auto& one : kinds) {
      const bool is_list = kind.string() == one.list;
      if (kind.string() != one.kind && !is_list) continue;
      if (version.string() == one.version) return is_list ? list(value, &one) : read(value, one);
      if (!is_same_group(one, version.string())) break;
      return report_.error(version, version.shown() + " is not supported for " + std::string(kind.string()) +
                                        ": expected \"" + std::string(one.version) + "\"");
    }
    report_.note(kind, "kind " + kind.shown() + " of " + version.shown() + " does not concern policy: skipped");
  }

  void list(const Value& value, const KindName* implied) {
    const Value items = value.get("items");
    if (in_list_) return report_.error(value, "a List inside of a List");
    if (!report_.array(items)) return;
    in_list_ = true;
    items.each_item([&](const Value& item) {
      const Value root = item.as_root();
      report_.enter(document_, item.index() + 1);
      object(root, implied);
    });
    in_list_ = false;
  }

  void read(const Value& value, const KindName& kind) {
    switch (kind.is) {
      case Kind::namespace_:
        return keep(read_namespace(report_, value));
      case Kind::node:
        return keep(read_node(report_, value));
      case Kind::pod:
        return keep(read_pod(report_, value));
      case Kind::network_policy:
        return keep(read_network_policy(report_, value));
    }
  }

  template <class T>
  void keep(std::optional<T> object) {
    if (!object) return;
    pool_.share(*object);
    objects_.emplace_back(*std::move(object));
  }

  Report report_;
  Pool pool_;
  std::vector<Object> objects_;
  std::size_t document_ = 1;
  bool in_list_ = false;
};

/// `text` must have SIMDJSON_PADDING bytes behind it that may be read.
Result<dom::element> parse_padded(dom::parser& parser, std::string_view text, const Limits& limits) {
  if (const auto code = parser.allocate(std::max<std::size_t>(text.size(), 64), limits.depth);
      code != simdjson::SUCCESS) {
    return fail(Errc::limit, simdjson::error_message(code));
  }
  dom::element root;
  const auto code = parser.parse(text.data(), text.size(), false).get(root);
  if (code == simdjson::DEPTH_ERROR) {
    return fail(Errc::limit, "nested deeper than " + std::to_string(limits.depth) + " levels");
  }
  if (code != simdjson::SUCCESS) return fail(Errc::invalid, simdjson::error_message(code));
  return root;
}

/// A line of text: control characters of file names do not reach a terminal.
void append_printable(std::string& out, std::string_view text) {
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
}

/// What the YAML library says may quote the input.
Error in_file(const Error& error, std::string_view file) {
  constexpr std::size_t longest = 500;
  std::string what;
  append_printable(what, file);
  what += ": ";
  append_printable(what, std::string_view(error.what()).substr(0, longest));
  return {error.code(), std::move(what)};
}

}  // namespace

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::error:
      return "error";
    case Severity::warning:
      return "warning";
    case Severity::note:
      return "note";
  }
  return "error";
}

std::string Diagnostic::text() const {
  std::string out;
  const auto part = [&](const std::string& words) {
    append_printable(out, words);
    out += ": ";
  };
  part(line == 0 ? file : file + ":" + std::to_string(line));
  part(std::string(name_of(severity)));
  std::string place = "document " + std::to_string(document);
  if (item != 0) place += ", item " + std::to_string(item);
  part(place);
  if (!object.empty()) part(object);
  if (!path.empty()) part(path);
  append_printable(out, message);
  return out;
}

bool Decoded::has_errors() const {
  return std::any_of(diagnostics.begin(), diagnostics.end(),
                     [](const Diagnostic& d) { return d.severity == Severity::error; });
}

Result<Decoded> decode_json(std::string_view file, std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes) {
    return fail(in_file({Errc::limit, "larger than " + std::to_string(limits.bytes) + " bytes"}, file));
  }
  const simdjson::padded_string padded(text);
  dom::parser parser;
  const auto root = parse_padded(parser, padded, limits);
  if (!root) return fail(in_file(root.error(), file));
  Decoder decoder(file);
  const Value value(*root, {});
  if (auto done = decoder.document(value, 1); !done) return fail(in_file(done.error(), file));
  return decoder.take();
}

Result<Decoded> decode_yaml(std::string_view file, std::string_view text, const Limits& limits) {
  YamlReader reader(text, limits);
  YamlDocument document;
  dom::parser parser;
  Decoder decoder(file);
  for (std::size_t number = 1;; ++number) {
    const auto more = reader.next(document);
    if (!more) return fail(in_file(more.error(), file));
    if (!*more) return decoder.take();
    const std::size_t length = document.json.size();
    document.json.append(simdjson::SIMDJSON_PADDING, ' ');
    const auto root = parse_padded(parser, std::string_view(document.json).substr(0, length), limits);
    if (!root) return fail(in_file(Error(root.error()).in("document " + std::to_string(number)), file));
    const Value value(*root, document.lines);
    if (auto done = decoder.document(value, number); !done) return fail(in_file(done.error(), file));
  }
}

Result<Decoded> decode_file(std::string_view file, std::string_view text, const Limits& limits) {
  return file.ends_with(".json") ? decode_json(file, text, limits) : decode_yaml(file, text, limits);
}

}  // namespace podfence::api
