#pragma once
// An immutable text in one pointer. Copies share the characters, so that a name that 100,000 objects carry is stored
// once. Goes wherever a std::string is wanted. All copies stay in one thread: owners are counted plainly.
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace podfence {

class Text;

template <class S>
concept other_text = std::convertible_to<const S&, std::string_view> && !std::same_as<std::remove_cvref_t<S>, Text>;

class Text {
 public:
  Text() noexcept = default;
  template <other_text S>
  Text(const S& text) : head_(made(text)) {}  // NOLINT(google-explicit-constructor)
  Text(const Text& other) noexcept : head_(other.head_) { keep(); }
  Text(Text&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  Text& operator=(Text other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~Text() { drop(); }

  std::string_view view() const noexcept { return head_ == nullptr ? std::string_view() : characters(); }
  operator std::string_view() const noexcept { return view(); }  // NOLINT(google-explicit-constructor)
  operator std::string() const { return std::string(view()); }   // NOLINT(google-explicit-constructor)

  bool empty() const noexcept { return head_ == nullptr; }
  std::size_t size() const noexcept { return view().size(); }

  /// Whether both have the same characters in memory, not only equal ones.
  bool shares_with(const Text& other) const noexcept { return head_ == other.head_; }

  friend bool operator==(const Text& a, const Text& b) noexcept { return a.head_ == b.head_ || a.view() == b.view(); }
  friend std::strong_ordering operator<=>(const Text& a, const Text& b) noexcept { return a.view() <=> b.view(); }
  template <other_text S>
  friend bool operator==(const Text& a, const S& b) noexcept {
    return a.view() == std::string_view(b);
  }
  template <other_text S>
  friend std::strong_ordering operator<=>(const Text& a, const S& b) noexcept {
    return a.view() <=> std::string_view(b);
  }
  friend std::string operator+(const Text& a, const Text& b) { return std::string(a.view()).append(b.view()); }
  template <other_text S>
  friend std::string operator+(const Text& a, const S& b) {
    return std::string(a.view()).append(std::string_view(b));
  }
  template <other_text S>
  friend std::string operator+(const S& a, const Text& b) {
    return std::string(std::string_view(a)).append(b.view());
  }
  friend std::ostream& operator<<(std::ostream& out, const Text& text) { return out << text.view(); }

 private:
  /// The characters lie behind it.
  struct Head {
    std::uint32_t owners = 1;
    std::uint32_t size = 0;
  };

  static Head* made(std::string_view text);
  static void destroy(Head* head) noexcept;
  std::string_view characters() const noexcept;
  void keep() noexcept {
    if (head_ != nullptr) ++head_->owners;
  }
  void drop() noexcept {
    if (head_ != nullptr && --head_->owners == 0) destroy(head_);
  }

  Head* head_ = nullptr;
};

}  // namespace podfence

template <>
struct std::hash<podfence::Text> {
  std::size_t operator()(const podfence::Text& text) const noexcept {
    return std::hash<std::string_view>{}(text.view());
  }
};
