#include "policy/archive/crc32c.h"

#include <array>

namespace podfence::archive {
namespace {

constexpr std::size_t lanes = 8;  // bytes at a time
using Tables = std::array<std::array<std::uint32_t, 256>, lanes>;

constexpr Tables make_tables() {
  constexpr std::uint32_t polynomial = 0x82f63b78;  // reflected
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) != 0 ? polynomial : 0);
    tables[0][i] = value;
  }
  for (std::size_t lane = 1; lane < lanes; ++lane) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t before = tables[lane - 1][i];
      tables[lane][i] = (before >> 8U) ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}

constexpr Tables tables = make_tables();

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  while (bytes.size() >= lanes) {
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < lanes; ++i) {
      const std::uint32_t old = i < 4 ? (crc >> (8 * i)) & 0xffU : 0;
      next ^= tables[lanes - 1 - i][byte(i) ^ old];
    }
    crc = next;
    bytes.remove_prefix(lanes);
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) crc = (crc >> 8U) ^ tables[0][(crc ^ byte(i)) & 0xffU];
  return ~crc;
}

}  // namespace podfence::archive
