#pragma once
// Result<T>: a value or an Error. Used wherever a caller may reasonably go on: parsing, a kernel's refusal, I/O.
// Exceptions are for broken invariants and lack of memory only.
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace podfence {

enum class Errc {
  invalid,      // the input breaks a rule
  limit,        // the input is larger, deeper or longer than we take
  not_found,    // what was asked for is not there
  refused,      // the kernel or a peer said no
  permission,   // a capability or an access right is missing
  unavailable,  // the other side is not there, or not now
  busy,         // try again: the world changed underneath
  io,           // reading or writing failed
};

std::string_view name_of(Errc code);

/// A class with a constructor, not an aggregate: g++ 12 mishandles aggregate errors in expected<>.
class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string what) : code_(code), what_(std::move(what)) {}

  Errc code() const { return code_; }
  const std::string& what() const { return what_; }

  /// The same error with where it happened put before it: "file a.yaml: <what>".
  Error in(std::string_view context) &&;

  friend bool operator==(const Error&, const Error&) = default;

 private:
  Errc code_;
  std::string what_;
};

template <class T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, std::string what) {
  return tl::unexpected<Error>(Error(code, std::move(what)));
}
inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace podfence
