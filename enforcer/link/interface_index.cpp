#include "enforcer/link/interface_index.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace podfence::link {

InterfaceIndex::InterfaceIndex() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
InterfaceIndex::InterfaceIndex(InterfaceIndex&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
InterfaceIndex& InterfaceIndex::operator=(InterfaceIndex&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
InterfaceIndex::~InterfaceIndex() {
  if (fd_ >= 0) ::close(fd_);
}

std::uint32_t InterfaceIndex::of(const std::string& name) const {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name)) return 0;
  name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  if (::ioctl(fd_, SIOCGIFINDEX, &request) != 0) return 0;
  return static_cast<std::uint32_t>(request.ifr_ifindex);
}

}  // namespace podfence::link
