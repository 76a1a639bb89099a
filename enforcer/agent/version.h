#pragma once

namespace podfence::agent {

/// The project's version, from CMake.
extern const char* const version;

}  // namespace podfence::agent
