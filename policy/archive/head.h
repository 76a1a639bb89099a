#pragma once
// The head of an archive.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace podfence::archive {

inline constexpr std::string_view magic = "PFWORLD\n";
inline constexpr std::size_t head_size = 36;
inline constexpr std::size_t checked_head = head_size - 4;

template <std::size_t size>
std::uint64_t number_at(std::string_view bytes, std::size_t at) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < size; ++i) {
    number |= std::uint64_t{static_cast<std::uint8_t>(bytes[at + i])} << (8 * i);
  }
  return number;
}

template <std::size_t size>
void put_number(char* at, std::uint64_t number) {
  for (std::size_t i = 0; i < size; ++i) at[i] = static_cast<char>(number >> (8 * i));
}

/// Names the content of the objects' bytes.
inline std::uint64_t content_of(std::uint64_t objects_crc, std::uint64_t objects_size) {
  return (objects_crc << 32U) | (objects_size & 0xffffffffU);
}

// Where the numbers are.
inline constexpr std::size_t at_format = 8;
inline constexpr std::size_t at_objects_size = 12;  // 8 bytes
inline constexpr std::size_t at_origin_size = 20;
inline constexpr std::size_t at_objects_crc = 24;
inline constexpr std::size_t at_origin_crc = 28;
inline constexpr std::size_t at_head_crc = 32;

}  // namespace podfence::archive
