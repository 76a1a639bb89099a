#pragma once
// CRC-32C (Castagnoli): finds every damage of up to 32 bits in a row, and nearly every other.
#include <cstdint>
#include <string_view>

namespace podfence::archive {

std::uint32_t crc32c(std::string_view bytes);

}  // namespace podfence::archive
