#pragma once
// The node itself: netlink, files.
#include "cni/host.h"

namespace podfence::cni {

class LinuxHost : public Host {
 public:
  Outcome<Veth> find_veth(const std::string& netns, const std::string& ifname, bool own_netns_allowed) override;
  Outcome<> filter_bridge(const Veth& veth) override;
  Outcome<> check_bridge(const Veth& veth) override;
  Result<bool> rules_present() override;
  Result<void> close_device(const std::string& device) override;
  Result<void> lift_closure(const std::string& device) override;
  Result<void> write_journal(const std::string& state_dir, const std::string& entry, std::string_view line) override;
  std::optional<std::string> read_journal(const std::string& state_dir, const std::string& entry) override;
  void erase_journal(const std::string& state_dir, const std::string& entry) override;
  void log(const std::string& file, std::string_view line) override;
};

}  // namespace podfence::cni
