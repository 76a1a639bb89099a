#pragma once
// The node as the plugin sees it: links, the bridge's switch, the journal, a log file.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cni/errors.h"
#include "policy/base/result.h"

namespace podfence::cni {

/// The host's end of a pod's interface.
struct Veth {
  std::string name;
  std::uint32_t index = 0;
  std::string bridge;  // whose port it is; empty: none
  std::uint32_t bridge_index = 0;
  friend bool operator==(const Veth&, const Veth&) = default;
};

class Host {
 public:
  virtual ~Host() = default;

  /// Code 8 when `netns` is no network namespace, or the runtime's own unless that is allowed; 7 when the interface is
  /// none whose packets the node's rules see; 11 when the kernel does not answer.
  virtual Outcome<Veth> find_veth(const std::string& netns, const std::string& ifname, bool own_netns_allowed) = 0;

  /// Makes the bridge of `veth` call iptables for both families, and looks whether it does now. Nothing to do for a
  /// veth without a bridge. Code 7 when the kernel cannot (no br_netfilter).
  virtual Outcome<> filter_bridge(const Veth& veth) = 0;
  /// Are bridged packets of `veth` seen by the rules? Code 11 with the reason if not.
  virtual Outcome<> check_bridge(const Veth& veth) = 0;

  /// Is the agent's table in the kernel? An error where one cannot tell.
  virtual Result<bool> rules_present() = 0;

  /// A chain on the device that drops all it sends and receives, until it is lifted. Lifting one that is not there is
  /// no error.
  virtual Result<void> close_device(const std::string& device) = 0;
  virtual Result<void> lift_closure(const std::string& device) = 0;

  /// The journal of `state_dir`: requests for the agent to read when it is back, one for each attachment, durable.
  virtual Result<void> write_journal(const std::string& state_dir, const std::string& entry, std::string_view line) = 0;
  virtual std::optional<std::string> read_journal(const std::string& state_dir, const std::string& entry) = 0;
  virtual void erase_journal(const std::string& state_dir, const std::string& entry) = 0;

  /// Appends a line with the time before it. Failing to is nobody's business: the command goes on.
  virtual void log(const std::string& file, std::string_view line) = 0;
};

}  // namespace podfence::cni
