#include "enforcer/flow/format.h"

namespace podfence::flow {

std::optional<std::string> formatted(Format format, const LoggedLine& line, std::string_view native,
                                     std::size_t width) {
  switch (format) {
    case Format::text:
      return text_line(line, width);
    case Format::native:
      return std::string(native);
    case Format::hubble:
      return hubble_line(line);
    case Format::gke:
      return gke_line(line);
    case Format::ecs:
      return ecs_line(line);
  }
  return std::nullopt;
}

}  // namespace podfence::flow
