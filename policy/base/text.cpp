#include "policy/base/text.h"

#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

namespace podfence {

Text::Head* Text::made(std::string_view text) {
  if (text.empty()) return nullptr;
  if (text.size() > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("Text");
  void* place = ::operator new(sizeof(Head) + text.size());
  Head* head = new (place) Head;
  head->size = static_cast<std::uint32_t>(text.size());
  std::memcpy(static_cast<char*>(place) + sizeof(Head), text.data(), text.size());
  return head;
}

void Text::destroy(Head* head) noexcept {
  ::operator delete(head);
}

std::string_view Text::characters() const noexcept {
  return {static_cast<const char*>(static_cast<const void*>(head_)) + sizeof(Head), head_->size};
}

}  // namespace podfence
