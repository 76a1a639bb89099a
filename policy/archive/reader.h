#pragma once
// Reads the numbers and texts of an archive. Input is hostile: every step is checked against the end.
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace podfence::archive {

/// Reads front to back. After the first thing that is wrong all it gives is empty, and `problem` says what it was.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool good() const { return problem_ == nullptr; }
  const char* problem() const { return problem_; }
  bool at_end() const { return rest_.empty(); }

  void spoil(const char* problem) {
    if (good()) problem_ = problem;
    rest_ = {};
  }

  std::string_view take(std::size_t size) {
    if (size > rest_.size()) {
      spoil("it ends within an object");
      return {};
    }
    const auto taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::uint8_t byte() {
    const auto taken = take(1);
    return taken.empty() ? 0 : static_cast<std::uint8_t>(taken.front());
  }
  /// At most `most`.
  template <class T = std::uint8_t>
  T byte_upto(unsigned most) {
    const auto value = byte();
    if (value > most) spoil("a value that is none of its kind");
    return static_cast<T>(value > most ? 0 : value);
  }
  bool flag() { return byte_upto<bool>(1); }
  std::uint64_t number() {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t next = byte();
      number |= std::uint64_t{next & 0x7fU} << shift;
      if ((next & 0x80U) == 0) return number;
    }
    spoil("a number that is too long");
    return 0;
  }
  std::int64_t signed_number() {
    const std::uint64_t bits = number();
    return static_cast<std::int64_t>((bits >> 1U) ^ ((bits & 1U) != 0 ? ~std::uint64_t{0} : 0));
  }
  /// How many of something follow, each of at least a byte.
  std::size_t count() { return fitting(number()); }
  std::size_t fitting(std::uint64_t count) {
    if (count <= rest_.size()) return static_cast<std::size_t>(count);
    spoil("it ends within a list");
    return 0;
  }
  std::string_view text() { return take(count()); }

 private:
  std::string_view rest_;
  const char* problem_ = nullptr;
};

}  // namespace podfence::archive
