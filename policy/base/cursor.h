#pragma once
// Reads untrusted bytes front to back. Every step is checked against the end; nothing is read past it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace podfence {

class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : rest_(bytes) {}

  std::size_t left() const { return rest_.size(); }
  std::span<const std::byte> rest() const { return rest_; }

  /// The next n bytes, or nothing when there are fewer (and then the cursor does not move).
  std::optional<std::span<const std::byte>> take(std::size_t n) {
    if (n > rest_.size()) return std::nullopt;
    const auto taken = rest_.first(n);
    rest_ = rest_.subspan(n);
    return taken;
  }

  /// The next sizeof(T) bytes as they lie in memory (host order).
  template <class T>
  requires std::is_trivially_copyable_v<T> std::optional<T> take_as() {
    const auto taken = take(sizeof(T));
    if (!taken) return std::nullopt;
    T value;
    std::memcpy(&value, taken->data(), sizeof(T));
    return value;
  }

  /// The next bytes as a number in network order.
  std::optional<std::uint16_t> take_be16() {
    const auto taken = take(2);
    if (!taken) return std::nullopt;
    return static_cast<std::uint16_t>((std::to_integer<unsigned>((*taken)[0]) << 8U) |
                                      std::to_integer<unsigned>((*taken)[1]));
  }
  std::optional<std::uint32_t> take_be32() {
    const auto high = left() >= 4 ? take_be16() : std::nullopt;
    if (!high) return std::nullopt;
    const auto low = take_be16();
    return (static_cast<std::uint32_t>(*high) << 16U) | *low;
  }
  std::optional<std::uint64_t> take_be64() {
    const auto high = left() >= 8 ? take_be32() : std::nullopt;
    if (!high) return std::nullopt;
    const auto low = take_be32();
    return (static_cast<std::uint64_t>(*high) << 32U) | *low;
  }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace podfence
