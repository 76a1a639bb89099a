#pragma once

namespace podfence::bench {

/// Starts the real agent on worlds of several sizes: time until it enforces, and its resident memory.
void agent_figures(const char* podfence, bool in_short);

}  // namespace podfence::bench
