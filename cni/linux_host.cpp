#include "cni/linux_host.h"

#include <fcntl.h>

#include <array>
#include <ctime>

#include "cni/descriptor.h"
#include "cni/journal.h"
#include "cni/nftables.h"
#include "cni/veth.h"

namespace podfence::cni {

Outcome<Veth> LinuxHost::find_veth(const std::string& netns, const std::string& ifname, bool own_netns_allowed) {
  return find_veth_of(netns, ifname, own_netns_allowed);
}

Outcome<> LinuxHost::filter_bridge(const Veth& veth) {
  return filter_bridge_of(veth);
}

Outcome<> LinuxHost::check_bridge(const Veth& veth) {
  return check_bridge_of(veth);
}

Result<bool> LinuxHost::rules_present() {
  return agent_table_present();
}

Result<void> LinuxHost::close_device(const std::string& device) {
  return close_device_now(device);
}

Result<void> LinuxHost::lift_closure(const std::string& device) {
  return lift_closure_of(device);
}

Result<void> LinuxHost::write_journal(const std::string& state_dir, const std::string& entry, std::string_view line) {
  return write_to_journal(state_dir, entry, line);
}

std::optional<std::string> LinuxHost::read_journal(const std::string& state_dir, const std::string& entry) {
  return read_from_journal(state_dir, entry);
}

void LinuxHost::erase_journal(const std::string& state_dir, const std::string& entry) {
  erase_from_journal(state_dir, entry);
}

void LinuxHost::log(const std::string& file, std::string_view line) {
  const Descriptor fd(::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd) return;
  std::array<char, 32> time{};
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  const std::string text = std::string(time.data()) + ' ' + std::string(line) + '\n';
  // One write, so that lines of plugins that run at the same time do not mix.
  [[maybe_unused]] const ssize_t written = ::write(fd.get(), text.data(), text.size());
}

}  // namespace podfence::cni
