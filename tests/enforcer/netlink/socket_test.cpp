#include "enforcer/netlink/socket.h"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>

#include "tests/support/netns.h"

namespace podfence::netlink {
namespace {

using Bytes = std::vector<std::byte>;

void append(Bytes& out, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
  out.resize((out.size() + 3) / 4 * 4);
}

void append_attribute(Bytes& out, std::uint16_t type, const void* data, std::size_t size) {
  const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + size), type};
  out.insert(out.end(), reinterpret_cast<const std::byte*>(&header), reinterpret_cast<const std::byte*>(&header + 1));
  append(out, data, size);
}

/// An NLMSG_ERROR as the kernel writes it; `echo`: bytes of the refused message that are sent back.
Bytes ack(int error, std::uint16_t flags, std::size_t echo = 0) {
  nlmsghdr header{};
  header.nlmsg_type = NLMSG_ERROR;
  header.nlmsg_flags = flags;
  nlmsgerr body{};
  body.error = -error;
  body.msg.nlmsg_seq = 7;
  body.msg.nlmsg_len = static_cast<std::uint32_t>(sizeof(nlmsghdr) + echo);
  Bytes out;
  append(out, &header, sizeof(header));
  append(out, &body, sizeof(body));
  out.resize(out.size() + echo);
  const std::uint32_t offset = 44;
  append_attribute(out, NLMSGERR_ATTR_OFFS, &offset, sizeof(offset));
  append_attribute(out, NLMSGERR_ATTR_MSG, "no room", 8);
  const auto size = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &size, sizeof(size));
  return out;
}

TEST(ParseAck, TakesTextAndOffset) {
  for (const auto& bytes : {ack(ENOSPC, NLM_F_ACK_TLVS | NLM_F_CAPPED), ack(ENOSPC, NLM_F_ACK_TLVS, 40)}) {
    const auto parsed = parse_ack(bytes);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->sequence, 7U);
    EXPECT_EQ(parsed->error, ENOSPC);
    EXPECT_EQ(parsed->text, "no room");
    EXPECT_EQ(parsed->offset, 44U);
    EXPECT_EQ(describe(*parsed), "No space left on device (ENOSPC): no room");
  }
}

TEST(ParseAck, TakesSuccess) {
  const auto parsed = parse_ack(ack(0, NLM_F_CAPPED));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->error, 0);
  EXPECT_EQ(parsed->text, "");
}

TEST(ParseAck, RefusesWhatIsNoAckOrCutShort) {
  const auto whole = ack(ENOSPC, NLM_F_ACK_TLVS, 40);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_ack(std::span(whole).first(size))) << size;  // shorter than its own length says
  }
  auto other = whole;
  other[4] = std::byte{NLMSG_DONE};
  EXPECT_FALSE(parse_ack(other));
}

TEST(ParseAck, NeverReadsPastTheEnd) {
  std::mt19937 random(4711);
  for (int i = 0; i < 20000; ++i) {
    auto bytes = ack(ENOSPC, NLM_F_ACK_TLVS, 40);
    bytes.resize(bytes.size() - random() % 24);
    const auto size = static_cast<std::uint32_t>(bytes.size());
    std::memcpy(bytes.data(), &size, sizeof(size));
    for (int flips = 0; flips < 3; ++flips) bytes[16 + random() % (bytes.size() - 16)] = std::byte(random() & 0xffU);
    const Bytes exact(bytes);  // no spare capacity, so that a sanitizer sees a step too far
    std::ignore = parse_ack(exact);
  }
}

TEST(Errors, AreSortedByWhatCanBeDone) {
  EXPECT_EQ(errc_of(EPERM), Errc::permission);
  EXPECT_EQ(errc_of(ERESTART), Errc::busy);
  EXPECT_EQ(errc_of(ENOENT), Errc::not_found);
  EXPECT_EQ(errc_of(EEXIST), Errc::refused);
  EXPECT_EQ(errno_text(ENOENT), "No such file or directory (ENOENT)");
  EXPECT_EQ(errno_text(99999), "error 99999");
}

nlmsghdr* link_request(std::array<std::byte, 256>& buffer, std::uint16_t type) {
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = type;
  mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
  return message;
}

TEST(Socket, DumpsAndIsRefusedWithTheKernelsWords) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto socket = Socket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket) << socket.error().what();
    EXPECT_NE(socket->port_id(), 0U);

    std::array<std::byte, 256> buffer{};
    int links = 0;
    const auto dumped = socket->dump(link_request(buffer, RTM_GETLINK), [&](const nlmsghdr* m) {
      EXPECT_EQ(m->nlmsg_type, RTM_NEWLINK);
      ++links;
    });
    ASSERT_TRUE(dumped) << dumped.error().what();
    EXPECT_EQ(links, 1);

    nlmsghdr* message = link_request(buffer, RTM_NEWLINK);
    mnl_attr_put_strz(message, IFLA_IFNAME, "nothere0");
    const auto answer = socket->request(message);
    ASSERT_TRUE(answer) << answer.error().what();
    EXPECT_EQ(answer->error, ENODEV);
    EXPECT_EQ(answer->sequence, message->nlmsg_seq);

    message = link_request(buffer, RTM_GETLINK);
    mnl_attr_put_strz(message, IFLA_IFNAME, "lo");
    int answers = 0;
    const auto found = socket->query(message, [&](const nlmsghdr*) { ++answers; });
    EXPECT_TRUE(found) << found.error().what();
    EXPECT_EQ(answers, 1);
    message = link_request(buffer, RTM_GETLINK);
    mnl_attr_put_strz(message, IFLA_IFNAME, "nothere0");
    EXPECT_FALSE(socket->query(message, [&](const nlmsghdr*) { ++answers; }));
    EXPECT_EQ(answers, 1);
  }));
}

TEST(Socket, WaitsNoLongerThanItIsTold) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto socket = Socket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket);
    for (const unsigned milliseconds : {0U, 20U}) {
      ASSERT_TRUE(socket->set_receive_timeout(milliseconds));
      const auto received = socket->receive();
      ASSERT_FALSE(received);
      EXPECT_EQ(received.error().code(), Errc::unavailable);
    }
  }));
}

TEST(Socket, SaysWhenMessagesWereLost) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto socket = Socket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket);
    socket->grow_receive_buffer(1);  // the least the kernel gives
    ASSERT_TRUE(socket->join(RTNLGRP_LINK));
    ASSERT_EQ(test::run("for i in $(seq 40); do ip link set lo mtu $((1300 + i)) || exit; done").status, 0);
    ASSERT_TRUE(socket->set_receive_timeout(0));
    bool lost = false;
    for (int i = 0; i < 100 && !lost; ++i) {
      const auto received = socket->receive();
      lost = !received && received.error().code() == Errc::busy;
      if (!received && !lost) break;
    }
    EXPECT_TRUE(lost);
  }));
}

TEST(Socket, TakesNothingFromOtherProcesses) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto socket = Socket::open(NETLINK_USERSOCK);
    auto stranger = Socket::open(NETLINK_USERSOCK);
    ASSERT_TRUE(socket && stranger);
    ASSERT_TRUE(socket->set_receive_timeout(50));
    sockaddr_nl to{};
    to.nl_family = AF_NETLINK;
    to.nl_pid = socket->port_id();
    const auto bytes = ack(0, NLM_F_CAPPED);
    ASSERT_EQ(
        ::sendto(stranger->fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)),
        static_cast<ssize_t>(bytes.size()));
    const auto received = socket->receive();
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code(), Errc::unavailable);
  }));
}

}  // namespace
}  // namespace podfence::netlink
