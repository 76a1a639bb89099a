#pragma once
// A list in one pointer. Copies share the items, so that labels which thousands of pods have in common are stored once;
// edit() gives a list items of its own first. All copies stay in one thread: owners are counted plainly.
#include <compare>
#include <cstddef>
#include <initializer_list>
#include <utility>
#include <vector>

namespace podfence {

template <class T>
class SharedList {
 public:
  SharedList() noexcept = default;
  SharedList(std::vector<T> items) : block_(made(std::move(items))) {}  // NOLINT(google-explicit-constructor)
  SharedList(std::initializer_list<T> items) : SharedList(std::vector<T>(items)) {}
  SharedList(const SharedList& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) ++block_->owners;
  }
  SharedList(SharedList&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedList& operator=(SharedList other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedList() {
    if (block_ != nullptr && --block_->owners == 0) delete block_;
  }

  const std::vector<T>& items() const noexcept {
    static const std::vector<T> none;
    return block_ == nullptr ? none : block_->items;
  }
  operator const std::vector<T>&() const noexcept { return items(); }  // NOLINT(google-explicit-constructor)

  bool empty() const noexcept { return items().empty(); }
  std::size_t size() const noexcept { return items().size(); }
  auto begin() const noexcept { return items().begin(); }
  auto end() const noexcept { return items().end(); }
  const T& operator[](std::size_t i) const { return items()[i]; }

  /// The items, of this list alone, to be changed. Valid until the list is copied or assigned to.
  std::vector<T>& edit() {
    if (block_ == nullptr || block_->owners != 1) {
      SharedList own;
      own.block_ = new Block(items());
      std::swap(block_, own.block_);
    }
    return block_->items;
  }

  /// Whether both have the same items in memory, not only equal ones.
  bool shares_with(const SharedList& other) const noexcept { return block_ == other.block_; }

  friend bool operator==(const SharedList& a, const SharedList& b) {
    return a.block_ == b.block_ || a.items() == b.items();
  }
  friend auto operator<=>(const SharedList& a, const SharedList& b) { return a.items() <=> b.items(); }

 private:
  struct Block {
    explicit Block(std::vector<T> of) : items(std::move(of)) {}
    std::size_t owners = 1;
    std::vector<T> items;
  };

  static Block* made(std::vector<T> items) { return items.empty() ? nullptr : new Block(std::move(items)); }

  Block* block_ = nullptr;
};

}  // namespace podfence
