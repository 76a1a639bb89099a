#include "enforcer/kernel/watch.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <arpa/inet.h>

#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "enforcer/netlink/attribute.h"
#include "policy/program/rule.h"

namespace podfence::kernel {
namespace {

constexpr std::size_t news_buffer = 1024 * 1024;

/// Drops, inside the kernel, the notifications about our own commits: an install of a large table has more of them than
/// any buffer holds, and the loss would look like a change. One datagram is about one commit.
int drop_own(int fd, std::uint32_t own_port) {
  constexpr std::uint32_t take_all = 0xffffffffU;
  // The filter reads numbers in network order, the message has them in the host's.
  std::array<sock_filter, 4> code{
      sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(nlmsghdr, nlmsg_pid)},
      sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, htonl(own_port)},
      sock_filter{BPF_RET | BPF_K, 0, 0, 0},
      sock_filter{BPF_RET | BPF_K, 0, 0, take_all},
  };
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

bool is_ours(const nlmsghdr* message) {
  const auto bytes = netlink::attributes_of(message, 0);
  const auto header = Cursor(bytes).take_as<nfgenmsg>();
  if (!header || header->nfgen_family != NFPROTO_INET) return false;
  bool ours = false;
  // The table's name is attribute 1 in every message of nf_tables but NEWGEN.
  netlink::for_each_attribute(netlink::attributes_of(message, sizeof(nfgenmsg)), [&](const netlink::Attribute& a) {
    ours = ours || (a.type == NFTA_TABLE_NAME && a.text() == program::table_name);
  });
  return ours;
}

std::string author(const nlmsghdr* generation) {
  std::string name = "a process";
  std::uint32_t pid = 0;
  netlink::for_each_attribute(netlink::attributes_of(generation, sizeof(nfgenmsg)), [&](const netlink::Attribute& a) {
    if (a.type == NFTA_GEN_PROC_NAME) name = a.text();
    if (a.type == NFTA_GEN_PROC_PID) pid = a.be32().value_or(0);
  });
  return name + " (process " + std::to_string(pid) + ")";
}

}  // namespace

Result<Watch> Watch::open(std::uint32_t own_port) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  socket->grow_receive_buffer(news_buffer);
  if (auto set = socket->set_receive_timeout(0); !set) return fail(set.error());
  if (drop_own(socket->fd(), own_port) != 0) {
    return fail(Errc::io, "nftables notifications: filter: " + netlink::errno_text(errno));
  }
  if (auto joined = socket->join(NFNLGRP_NFTABLES); !joined) return fail(joined.error());
  return Watch(std::move(*socket));
}

Result<Watch::News> Watch::drain() {
  News news;
  bool pending = false;  // something of ours changed; who did it comes at the end of the transaction
  for (;;) {
    const auto datagram = socket_.receive();
    if (!datagram) {
      const auto code = datagram.error().code();
      if (code == Errc::unavailable) return news;
      if (code != Errc::busy && code != Errc::limit) return fail(datagram.error());
      news.changed = true;  // lost or too long: it may have been ours
      continue;
    }
    netlink::for_each_message(*datagram, [&](const nlmsghdr* message) {
      if (message->nlmsg_type >> 8U != NFNL_SUBSYS_NFTABLES) return true;
      if ((message->nlmsg_type & 0xffU) == NFT_MSG_NEWGEN) {
        if (pending && news.by.empty()) news.by = author(message);
        pending = false;
      } else if (is_ours(message)) {
        news.changed = true;
        pending = true;
      }
      return true;
    });
  }
}

}  // namespace podfence::kernel
