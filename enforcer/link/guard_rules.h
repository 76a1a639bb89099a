#pragma once
// The constant rules of table netdev podfence, as messages of a batch.
#include <cstdint>
#include <string>
#include <string_view>

#include "enforcer/netlink/batch.h"
#include "policy/net/ip.h"
#include "policy/program/program.h"

namespace podfence::link {

inline constexpr const char* guard_table = "podfence";
inline constexpr const char* guard_chain = "guard";
inline constexpr const char* spoofed_chain = "spoofed";
inline constexpr const char* spoofed_counter = "spoofed";
inline constexpr const char* unlogged_counter = "over_spoofed";

/// "own4", "own6"
const char* own_set(net::Family family);

/// Begins a message of the netdev family.
nlmsghdr* start_netdev(netlink::Batch& batch, std::uint16_t type, std::uint16_t flags);

void put_guard_table(netlink::Batch& batch);
/// Counters, sets and the two regular chains with their rules. What is there already stays; rules are written anew.
void put_guard_rules(netlink::Batch& batch, const program::Options& options);
/// Empties a set of own addresses; adds one; removes one that is there.
void flush_own(netlink::Batch& batch, net::Family family);
void delete_own(netlink::Batch& batch, std::uint32_t interface, const net::IpAddr& address);
void put_own(netlink::Batch& batch, std::uint32_t interface, const net::IpAddr& address);
/// The base chain of a device, with its one rule; or just the rule, where the chain stays.
void put_device_chain(netlink::Batch& batch, const std::string& device);
void renew_device_rule(netlink::Batch& batch, const std::string& device);
void delete_device_chain(netlink::Batch& batch, const std::string& device);

inline constexpr std::string_view device_prefix = "dev_";
std::string device_chain(const std::string& device);

}  // namespace podfence::link
