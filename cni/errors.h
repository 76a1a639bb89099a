#pragma once
// What the plugin says when it fails: the error object of the CNI specification. Codes 1 to 99 are the specification's;
// 8 is not in its table, but Go's library uses it for the same.
#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace podfence::cni {

enum class Code : std::uint32_t {
  incompatible_version = 1,
  unsupported_field = 2,
  unknown_container = 3,
  invalid_environment = 4,
  io_failure = 5,
  decoding_failure = 6,
  invalid_config = 7,
  invalid_netns = 8,
  try_again = 11,
  not_available = 50,              // STATUS: ADD cannot be served
  not_available_and_limited = 51,  // STATUS: and running pods may be without their rules
  internal = 999,
};

/// `msg` and `details` reach `kubectl describe pod` as "msg; details".
class [[nodiscard]] Failure {
 public:
  Failure(Code code, std::string msg, std::string details = {})
      : code_(code), msg_(std::move(msg)), details_(std::move(details)) {}

  Code code() const { return code_; }
  const std::string& msg() const { return msg_; }
  const std::string& details() const { return details_; }

  friend bool operator==(const Failure&, const Failure&) = default;

 private:
  Code code_;
  std::string msg_;
  std::string details_;
};

template <class T = void>
using Outcome = tl::expected<T, Failure>;

inline tl::unexpected<Failure> refuse(Code code, std::string msg, std::string details = {}) {
  return tl::unexpected<Failure>(Failure(code, std::move(msg), std::move(details)));
}
inline tl::unexpected<Failure> refuse(Failure failure) {
  return tl::unexpected<Failure>(std::move(failure));
}

}  // namespace podfence::cni
