#pragma once
// A line of the flow log for other readers. Each format has its file with its mapping in it, and its golden file in
// tests/enforcer/flow/golden. What a line holds is not trusted: it stays one line of at most 16 KiB without control
// characters, and JSON stays valid.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "enforcer/flow/history.h"

namespace podfence::flow {

enum class Format : std::uint8_t {
  text,    // for people
  native,  // podfence.flow/v1, as it was written
  hubble,  // Cilium's flow.proto in its JSON form, for `hubble observe --input-file`
  gke,     // the network policy log of GKE
  ecs      // Elastic Common Schema 8
};

inline constexpr std::size_t any_width = std::numeric_limits<std::size_t>::max();

/// Without a newline. Nothing when the format has no word for such a line: hubble has none for detections and what
/// the agent did, gke none for anything but allowed and denied flows.
std::optional<std::string> formatted(Format format, const LoggedLine& line, std::string_view native,
                                     std::size_t width = any_width);

/// "2026-11-23 17:30:00.123 deny ingress shop/web 10.0.1.5:43210 -> db/pg 10.0.2.9:5432/tcp x14 by db/allow-api".
/// In a narrow terminal less is said: addresses of pods go first, then further policies, then the middle of names.
std::string text_line(const LoggedLine& line, std::size_t width = any_width);

std::optional<std::string> hubble_line(const LoggedLine& line);
std::optional<std::string> gke_line(const LoggedLine& line);
std::optional<std::string> ecs_line(const LoggedLine& line);

}  // namespace podfence::flow
