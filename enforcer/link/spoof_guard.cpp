#include "enforcer/link/spoof_guard.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "enforcer/link/guard_rules.h"
#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/transaction.h"

namespace podfence::link {
namespace {

using netlink::Attribute;

constexpr int commit_attempts = 20;

/// A dump request of the netdev family for one type of object of our table.
nlmsghdr* dump_request(void* buffer, std::uint16_t type) {
  nlmsghdr* message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | type);
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = NFPROTO_NETDEV;
  extra->version = NFNETLINK_V0;
  extra->res_id = 0;
  return message;
}

/// Of a chain's hook: the device, when it is just one.
std::string device_of(const Attribute& hook) {
  std::vector<std::string> devices;
  netlink::for_each_attribute(hook.value, [&](const Attribute& a) {
    if (a.type != NFTA_HOOK_DEVS) return;
    netlink::for_each_attribute(a.value, [&](const Attribute& device) { devices.emplace_back(device.text()); });
  });
  return devices.size() == 1 ? devices.front() : std::string();
}

/// The same addresses in another order are the same.
void sort_addresses(std::map<std::string, GuardedDevice>& devices) {
  for (auto& [name, device] : devices) {
    auto& all = device.addresses;
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
  }
}

/// Takes out, and names, the devices that are not there under their name with their index.
std::vector<std::string> take_missing(std::map<std::string, GuardedDevice>& devices, const InterfaceIndex& index) {
  std::vector<std::string> missing;
  for (auto device = devices.begin(); device != devices.end();) {
    if (index.of(device->first) == device->second.index) {
      ++device;
    } else {
      missing.push_back(device->first);
      device = devices.erase(device);
    }
  }
  return missing;
}

std::uint64_t be64(const Attribute& a) {
  Cursor cursor(a.value);
  const auto high = cursor.take_be32();
  const auto low = cursor.take_be32();
  return high && low ? (static_cast<std::uint64_t>(*high) << 32U) | *low : 0;
}

}  // namespace

Result<SpoofGuard> SpoofGuard::open(const program::Options& options) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  SpoofGuard guard(std::move(*socket), options);
  if (auto chains = guard.read_chains(); !chains) return fail(chains.error());
  return guard;
}

Result<SpoofGuard::Chains> SpoofGuard::read_chains() {
  constexpr int most_attempts = 5;
  for (int attempt = 1;; ++attempt) {
    Chains chains;
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    auto done = socket_.dump(dump_request(buffer.data(), NFT_MSG_GETCHAIN), [&](const nlmsghdr* answer) {
      std::string_view table;
      std::string name;
      Chain chain;
      netlink::for_each_attribute(netlink::attributes_of(answer, sizeof(nfgenmsg)), [&](const Attribute& a) {
        if (a.type == NFTA_CHAIN_TABLE) table = a.text();
        if (a.type == NFTA_CHAIN_NAME) name = a.text();
        if (a.type == NFTA_CHAIN_USE) chain.use = a.be32().value_or(0);
        if (a.type == NFTA_CHAIN_HOOK) chain.device = device_of(a);
      });
      if (table == guard_table) chains.emplace(std::move(name), std::move(chain));
    });
    if (done) return chains;
    if (done.error().code() == Errc::busy && attempt < most_attempts) continue;
    return fail(std::move(done.error()).in("table netdev podfence"));
  }
}

void SpoofGuard::encode(const Devices& devices, const Chains& chains) {
  batch_.clear();
  put_guard_table(batch_);
  put_guard_rules(batch_, options_);
  for (const auto family : net::families) {
    flush_own(batch_, family);
    for (const auto& [name, device] : devices) {
      for (const auto& address : device.addresses) {
        if (address.family() == family) put_own(batch_, device.index, address);
      }
    }
  }
  for (const auto& [name, chain] : chains) {
    if (name.substr(0, device_prefix.size()) != device_prefix) continue;
    const auto device = name.substr(device_prefix.size());
    if (chain.device != device || devices.count(device) == 0) delete_device_chain(batch_, device);
  }
  for (const auto& [name, device] : devices) {
    const auto chain = chains.find(device_chain(name));
    if (chain == chains.end() || chain->second.device != name) put_device_chain(batch_, name);
    if (chain != chains.end() && chain->second.device == name) renew_device_rule(batch_, name);
  }
}

/// From the devices of the last commit, where the kernel holds them still.
void SpoofGuard::encode_changes(const Devices& devices) {
  batch_.clear();
  const auto may_send = [](const Devices& all, const std::string& name, std::uint32_t index, const net::IpAddr& ip) {
    const auto found = all.find(name);
    if (found == all.end() || found->second.index != index) return false;
    return std::binary_search(found->second.addresses.begin(), found->second.addresses.end(), ip);
  };
  for (const auto& [name, device] : devices_) {
    for (const auto& address : device.addresses) {
      if (!may_send(devices, name, device.index, address)) delete_own(batch_, device.index, address);
    }
    if (!devices.contains(name)) delete_device_chain(batch_, name);
  }
  for (const auto& [name, device] : devices) {
    for (const auto& address : device.addresses) {
      if (!may_send(devices_, name, device.index, address)) put_own(batch_, device.index, address);
    }
    if (!devices_.contains(name)) put_device_chain(batch_, name);
  }
}

/// Whether anything had to be written.
Result<bool> SpoofGuard::commit(const Devices& devices) {
  for (int attempt = 1;; ++attempt) {
    // The generation comes first: what changes after it makes the kernel refuse what was made for what was read.
    const auto generation = netlink::generation(socket_);
    if (!generation) return fail(generation.error());
    const auto chains = read_chains();
    if (!chains) return fail(chains.error());
    const bool as_left = !chains_.empty() && *chains == chains_;
    if (as_left && devices == devices_) return false;
    if (as_left) {
      encode_changes(devices);
    } else {
      encode(devices, *chains);
    }
    const auto refused = netlink::send_batch(socket_, batch_, *generation);
    if (!refused) return fail(Error(refused.error()).in("source guard"));
    if (refused->empty()) return true;
    const auto& first = refused->front();
    const bool again = first.error == ERESTART || first.error == EAGAIN;
    if (as_left && !again) chains_.clear();  // it is not as we left it: once more, from what is there
    if ((!again && !as_left) || attempt == commit_attempts) {
      return fail(netlink::errc_of(first.error), "source guard: " + netlink::describe(first));
    }
  }
}

Result<std::vector<std::string>> SpoofGuard::set(const std::map<std::string, GuardedDevice>& devices) {
  Devices there = devices;
  sort_addresses(there);
  std::vector<std::string> missing = take_missing(there, index_);
  const auto written = commit(there);
  if (!written) return fail(written.error());
  if (!*written) return missing;
  auto chains = read_chains();
  if (!chains) return fail(chains.error());
  chains_ = std::move(*chains);
  devices_ = there;
  for (const auto& name : take_missing(there, index_)) missing.push_back(name);
  for (const auto& [name, device] : there) {
    const auto chain = chains_.find(device_chain(name));
    if (chain == chains_.end() || chain->second.device != name) missing.push_back(name);
  }
  return missing;
}

Result<std::map<std::string, std::uint64_t>> SpoofGuard::counters() {
  std::map<std::string, std::uint64_t> packets;
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  auto done = socket_.dump(dump_request(buffer.data(), NFT_MSG_GETOBJ), [&](const nlmsghdr* answer) {
    std::string_view table;
    std::string_view name;
    std::uint64_t count = 0;
    netlink::for_each_attribute(netlink::attributes_of(answer, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_OBJ_TABLE) table = a.text();
      if (a.type == NFTA_OBJ_NAME) name = a.text();
      if (a.type != NFTA_OBJ_DATA) return;
      netlink::for_each_attribute(a.value, [&](const Attribute& data) {
        if (data.type == NFTA_COUNTER_PACKETS) count = be64(data);
      });
    });
    if (table == guard_table) packets.emplace(name, count);
  });
  if (!done) return fail(done.error());
  return packets;
}

Result<> SpoofGuard::purge() {
  batch_.clear();
  put_guard_table(batch_);  // so that there is one to delete
  nlmsghdr* message = start_netdev(batch_, NFT_MSG_DELTABLE, 0);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, guard_table);
  batch_.finish(message);
  const auto generation = netlink::generation(socket_);
  if (!generation) return fail(generation.error());
  const auto refused = netlink::send_batch(socket_, batch_, *generation);
  if (!refused) return fail(refused.error());
  if (!refused->empty()) {
    return fail(netlink::errc_of(refused->front().error), "source guard: " + netlink::describe(refused->front()));
  }
  devices_.clear();
  chains_.clear();
  return {};
}

}  // namespace podfence::link
