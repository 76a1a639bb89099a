#pragma once
// How wide a line of output may be.
#include <cstddef>

namespace podfence::cli {

/// Of standard output when it is a terminal: COLUMNS, else what the terminal says, else 80. Elsewhere any width.
std::size_t output_width();

}  // namespace podfence::cli
