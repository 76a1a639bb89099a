#pragma once
// The project's version, from CMake.

namespace podfence::agent {

inline constexpr const char* version = PODFENCE_VERSION;

}  // namespace podfence::agent
