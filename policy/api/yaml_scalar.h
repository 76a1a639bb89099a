#pragma once
// What a plain YAML scalar means to kubectl (sigs.k8s.io/yaml: YAML 1.1), as JSON text.
#include <string>
#include <string_view>

namespace podfence::api {

enum class ScalarType : std::uint8_t { null, boolean, integer, floating, string };

struct Scalar {
  ScalarType type = ScalarType::string;
  std::string json;  // "null", "true", "80", "1.5"; of a string nothing
};

/// yes, on and true are booleans; 0x10, 0b1, 0o17 and 017 are numbers, as is 1_000; everything else is a string.
Scalar resolve_plain(std::string_view text);

}  // namespace podfence::api
