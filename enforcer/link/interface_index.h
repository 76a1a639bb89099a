#pragma once
// if_nametoindex(3) for many names: one system call each, on one socket.
#include <cstdint>
#include <string>

namespace podfence::link {

class InterfaceIndex {
 public:
  InterfaceIndex();
  InterfaceIndex(InterfaceIndex&& other) noexcept;
  InterfaceIndex& operator=(InterfaceIndex&& other) noexcept;
  ~InterfaceIndex();

  /// 0: there is no such interface (or no socket could be had, which is as if there were none).
  std::uint32_t of(const std::string& name) const;

 private:
  int fd_;
};

}  // namespace podfence::link
