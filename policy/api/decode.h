#pragma once
// From bytes to objects: Namespace, Node, Pod, NetworkPolicy and List (v1), as JSON or YAML, with the defaulting that
// the API server would do. Input is hostile: sizes, depth and counts are bounded, nothing invalid ever widens.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/objects.h"
#include "policy/base/result.h"

namespace podfence::api {

enum class Severity : std::uint8_t { error, warning, note };

std::string_view name_of(Severity severity);

/// One finding about one field. `document` counts from 1 in a multi-document file, and `item` from 1 inside a List
/// (0 = not in a List). `line` is 1-based, 0 where it is not known (JSON).
struct Diagnostic {
  Severity severity = Severity::error;
  std::string file;
  std::size_t document = 1;
  std::size_t item = 0;
  std::size_t line = 0;
  std::string object;   // "NetworkPolicy shop/allow-web", or "" when the document is no object
  std::string path;     // "spec.ingress[0].from[1].ipBlock.cidr"
  std::string message;  // what is wrong and what is expected
  std::string text() const;
  friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};

struct Limits {
  std::size_t bytes = std::size_t{256} << 20U;
  std::size_t depth = 64;
  std::size_t nodes = std::size_t{64} << 20U;  // YAML events
};

/// Objects in the order of the input. An object with errors is still here, narrowed: what was invalid admits nothing,
/// and the policy isolates all the same. An object without a usable kind, name or (where needed) namespace is left out
/// and reported as an error. Kinds that are not ours are skipped with a note.
struct Decoded {
  std::vector<Object> objects;
  std::vector<Diagnostic> diagnostics;
  bool has_errors() const;
};

/// Fails only when the text as a whole cannot be read (syntax, limits, YAML aliases, merge keys, duplicate keys).
Result<Decoded> decode_json(std::string_view file, std::string_view text, const Limits& limits = {});
Result<Decoded> decode_yaml(std::string_view file, std::string_view text, const Limits& limits = {});

/// By the file's name: *.json is JSON, everything else YAML.
Result<Decoded> decode_file(std::string_view file, std::string_view text, const Limits& limits = {});

}  // namespace podfence::api
