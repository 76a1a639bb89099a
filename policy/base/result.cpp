#include "policy/base/result.h"

namespace podfence {

std::string_view name_of(Errc code) {
  switch (code) {
    case Errc::invalid:
      return "invalid";
    case Errc::limit:
      return "limit";
    case Errc::not_found:
      return "not_found";
    case Errc::refused:
      return "refused";
    case Errc::permission:
      return "permission";
    case Errc::unavailable:
      return "unavailable";
    case Errc::busy:
      return "busy";
    case Errc::io:
      return "io";
  }
  return "invalid";
}

Error Error::in(std::string_view context) && {
  what_.insert(0, ": ");
  what_.insert(0, context);
  return std::move(*this);
}

}  // namespace podfence
