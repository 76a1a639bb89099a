#pragma once
// Drops what a pod sends with a source address that is not its own, at the ingress hook of its host interface, before
// anything else on the node sees the packet. Table `netdev podfence`:
//
//   set own4, own6            { iface_index . address }   what each guarded device may send
//   chain guard               ARP, own addresses, and IPv6 neighbour discovery from link-local or no address: accept
//   chain spoofed             counter, log "pf1:spoof" within a rate, drop
//   chain dev_NAME            one base chain for each guarded device: jump guard
//
// A chain for each device, so that adding one opens or closes no other. Keys are interface indices: a device that was
// replaced under the same name sends nothing until it is looked up again.
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

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

  /// From now on these devices, by name, and no others. One transaction; counters go on. The kernel accepts a chain on
  /// a device that does not exist, so every device is asked for by name first: a missing one is left out of the guard
  /// and named in the result.
  Result<std::vector<std::string>> set(const std::map<std::string, GuardedDevice>& devices);

  /// Packets dropped since the table was made: counter `spoofed`, and of these without a log message, `over_spoofed`.
  Result<std::map<std::string, std::uint64_t>> counters();

  /// Deletes the table.
  Result<> purge();

 private:
  SpoofGuard(netlink::Socket socket, const program::Options& options) : socket_(std::move(socket)), options_(options) {}
  Result<> find_chains();
  void put_elements(const std::map<std::string, GuardedDevice>& devices);
  void put_devices(const std::map<std::string, GuardedDevice>& devices);

  netlink::Socket socket_;
  netlink::Batch batch_;
  program::Options options_;
  std::set<std::string> chained_;  // devices that have a chain in the kernel
};

}  // namespace podfence::link
