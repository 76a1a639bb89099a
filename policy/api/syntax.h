#pragma once
// What the API server accepts as a name, a label and a port name (apimachinery util/validation).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace podfence::api {

bool is_dns_subdomain(std::string_view text);  // at most 253, lower-case labels joined by dots
bool is_dns_label(std::string_view text);      // at most 63
bool is_label_key(std::string_view text);      // "name" or "prefix.example.com/name"
bool is_label_value(std::string_view text);    // "" or at most 63
bool is_port_name(std::string_view text);      // IANA service name: at most 15, with a letter (conformance T-29)

/// RFC 3339: seconds since 1970.
std::optional<std::int64_t> parse_timestamp(std::string_view text);
/// The other way round, in UTC; nothing outside of the years 1 to 9999, or for the beginning of year 1 (Go's "no
/// time").
std::optional<std::string> timestamp_text(std::int64_t seconds);

}  // namespace podfence::api
