#pragma once
// Drops what a pod sends with a source address that is not its own, at the ingress hook of its host interface, before
// anything else on the node sees the packet. Table `netdev podfence`:
//
//   set own4, own6            { iface_index . address }   what each guarded device may send
//   chain guard               own addresses (in ARP too), ICMPv6 from a link-local or no address: accept
//   chain spoofed             counter, log "pf1:spoof" within a rate, drop
//   chain dev_NAME            one base chain for each guarded device: jump guard
//
// A chain for each device, so that adding one opens or closes no other. Keys are interface indices: a device that was
// replaced under the same name sends nothing until it is looked up again. What is left open: forged MAC addresses, and
// forged targets in neighbour advertisements.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "enforcer/link/interface_index.h"
#include "enforcer/netlink/batch.h"
#include "enforcer/netlink/socket.h"
#include "policy/net/ip.h"
#include "policy/program/program.h"

namespace podfence::link {

struct GuardedDevice {
  std::uint32_t index = 0;
  std::vector<net::IpAddr> addresses;
  friend bool operator==(const GuardedDevice&, const GuardedDevice&) = default;
};

class SpoofGuard {
 public:
  /// Takes over the chains that an earlier agent left.
  static Result<SpoofGuard> open(const program::Options& options);

  /// From now on these devices, by name, and no others. One transaction, or none when all is as it was left; counters
  /// go on. The kernel accepts a chain on a device that does not exist, so every device is asked for by name, before
  /// and after: a missing one is named in the result, and is not guarded.
  Result<std::vector<std::string>> set(const std::map<std::string, GuardedDevice>& devices);

  /// Packets dropped since the table was made: counter `spoofed`, and of these without a log message, `over_spoofed`.
  Result<std::map<std::string, std::uint64_t>> counters();

  /// Deletes the table.
  Result<> purge();

 private:
  /// A chain as the kernel tells it.
  struct Chain {
    std::string device;     // empty: of none; a kernel may keep a chain whose device has gone
    std::uint32_t use = 0;  // its rules, and the jumps to it
    friend bool operator==(const Chain&, const Chain&) = default;
  };
  using Chains = std::map<std::string, Chain>;
  using Devices = std::map<std::string, GuardedDevice>;

  SpoofGuard(netlink::Socket socket, const program::Options& options) : socket_(std::move(socket)), options_(options) {}
  Result<Chains> read_chains();
  void encode(const Devices& devices, const Chains& chains);
  void encode_changes(const Devices& devices);
  Result<bool> commit(const Devices& devices);

  netlink::Socket socket_;
  InterfaceIndex index_;
  netlink::Batch batch_;
  program::Options options_;
  Devices devices_;  // as of the last commit; the addresses of each sorted
  Chains chains_;    // the same
};

}  // namespace podfence::link
