// Entries of conntrack from bytes and from a real kernel, and the label of one of them.
#include "enforcer/conntrack/entry.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "enforcer/conntrack/revoke.h"
#include "tests/support/netns.h"

namespace podfence::conntrack {
namespace {

using namespace net::literals;
using test::in_new_netns;
using test::run;
using test::run_with_input;

constexpr std::uint16_t new_entry = NFNL_SUBSYS_CTNETLINK << 8U | IPCTNL_MSG_CT_NEW;

/// A message in a buffer of its size, aligned, so that a checker of memory sees a read past it.
class Bytes {
 public:
  explicit Bytes(const std::vector<char>& bytes) : words_((bytes.size() + 7) / 8) {
    std::copy(bytes.begin(), bytes.end(), static_cast<char*>(static_cast<void*>(words_.data())));
  }
  nlmsghdr* message() { return static_cast<nlmsghdr*>(static_cast<void*>(words_.data())); }

 private:
  std::vector<std::uint64_t> words_;
};

void put_tuple(nlmsghdr* m, std::uint16_t type, const Tuple& t) {
  nlattr* tuple = mnl_attr_nest_start(m, type);
  nlattr* ip = mnl_attr_nest_start(m, CTA_TUPLE_IP);
  const bool v4 = t.source.family() == net::Family::ipv4;
  mnl_attr_put(m, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, t.source.bytes().size(), t.source.bytes().data());
  mnl_attr_put(m, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, t.destination.bytes().size(), t.destination.bytes().data());
  mnl_attr_nest_end(m, ip);
  nlattr* proto = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(m, CTA_PROTO_NUM, t.protocol.number);
  mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, htons(t.source_port.number));
  mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, htons(t.destination_port.number));
  mnl_attr_nest_end(m, proto);
  mnl_attr_nest_end(m, tuple);
}

std::vector<char> message_of(const Tuple& original, const Tuple& reply, const std::vector<std::uint8_t>& labels) {
  alignas(8) std::array<char, 1024> buffer{};
  nlmsghdr* m = mnl_nlmsg_put_header(buffer.data());
  m->nlmsg_type = new_entry;
  mnl_nlmsg_put_extra_header(m, sizeof(nfgenmsg));
  put_tuple(m, CTA_TUPLE_ORIG, original);
  put_tuple(m, CTA_TUPLE_REPLY, reply);
  mnl_attr_put_u16(m, CTA_ZONE, htons(7));
  if (!labels.empty()) mnl_attr_put(m, CTA_LABELS, labels.size(), labels.data());
  return {buffer.data(), buffer.data() + m->nlmsg_len};
}

const Tuple to_service{"10.0.1.1"_ip, "10.96.0.10"_ip, net::tcp, net::Port{40000}, net::Port{80}};
const Tuple from_endpoint{"10.0.1.2"_ip, "10.0.1.1"_ip, net::tcp, net::Port{8080}, net::Port{40000}};

TEST(Entry, IsReadWholeWithItsLabelsAndItsFlowAfterDnat) {
  std::vector<std::uint8_t> labels(16);
  labels[101 / 8] = 1U << (101 % 8);
  Bytes bytes(message_of(to_service, from_endpoint, labels));
  const auto entry = parse_entry(bytes.message());
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->original, to_service);
  EXPECT_EQ(entry->reply, from_endpoint);
  EXPECT_EQ(entry->zone, 7);
  EXPECT_TRUE(entry->has_label(101));
  EXPECT_FALSE(entry->has_label(100));
  EXPECT_EQ(entry->forwarded(), (net::Flow{"10.0.1.1"_ip, "10.0.1.2"_ip, net::tcp, net::Port{8080}}));
}

TEST(Entry, MayHaveFewOrNoLabels) {
  Bytes none(message_of(to_service, from_endpoint, {}));
  EXPECT_FALSE(parse_entry(none.message())->has_label(0));
  Bytes few(message_of(to_service, from_endpoint, {1, 0, 0, 0}));
  EXPECT_TRUE(parse_entry(few.message())->has_label(0));
  Bytes many(message_of(to_service, from_endpoint, std::vector<std::uint8_t>(40, 0xff)));
  EXPECT_TRUE(parse_entry(many.message())->has_label(127));
}

TEST(Entry, IsNothingWhenCutShortOrOfAnotherKind) {
  const auto whole = message_of(to_service, from_endpoint, std::vector<std::uint8_t>(16));
  std::size_t refused = 0;
  for (std::size_t size = sizeof(nlmsghdr); size < whole.size(); ++size) {
    Bytes bytes({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    bytes.message()->nlmsg_len = static_cast<std::uint32_t>(size);
    refused += parse_entry(bytes.message()) ? 0U : 1U;
  }
  EXPECT_GT(refused, whole.size() / 2) << "both tuples must be whole";
  Bytes other(whole);
  other.message()->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8U | IPCTNL_MSG_CT_DELETE;
  EXPECT_FALSE(parse_entry(other.message()));
}

TEST(Entry, NeedsBothEndsOfOneFamily) {
  auto mixed = to_service;
  mixed.destination = "fd00::1"_ip;
  Bytes bytes(message_of(mixed, from_endpoint, {}));
  const auto entry = parse_entry(bytes.message());
  if (entry) {
    EXPECT_EQ(entry->original.source.family(), entry->original.destination.family());
  }
}

/// Rules that give every flow over the loopback device a label, and flows: TCP and ping of both families.
void make_flows() {
  const auto* const rules = R"(table inet t {
    chain out {
      type filter hook output priority 0
      ct label set 101
    }
  })";
  ASSERT_EQ(run_with_input("nft -f -", rules).output, "");
  EXPECT_EQ(run("ping -c 1 -W 3 127.0.0.1 >/dev/null && ping -6 -c 1 -W 3 ::1 >/dev/null").status, 0);
  EXPECT_EQ(run("bash -c 'echo > /dev/udp/127.0.0.1/4000'").status, 0);
  // A connection that is reset leaves no entry.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(4001);
  const auto* where = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  ASSERT_EQ(::bind(listener, where, sizeof(address)), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  ASSERT_EQ(::connect(client, where, sizeof(address)), 0);
  ::close(client);
  ::close(listener);
}

std::vector<Entry> all(netlink::Socket& socket) {
  std::vector<Entry> entries;
  const auto done = walk(socket, [&](const Entry& entry) { entries.push_back(entry); });
  EXPECT_TRUE(done) << done.error().what();
  return entries;
}

TEST(Walk, SeesEveryFlowOfBothFamiliesAndClearsOneLabelOfOne) {
  EXPECT_TRUE(in_new_netns([] {
    make_flows();
    auto socket = netlink::Socket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket) << socket.error().what();
    const auto before = all(*socket);
    const auto of = [](const std::vector<Entry>& entries, net::Protocol protocol) {
      return std::find_if(entries.begin(), entries.end(),
                          [&](const Entry& e) { return e.original.protocol == protocol; });
    };
    for (const auto protocol : {net::icmp, net::icmpv6, net::udp, net::tcp}) {
      const auto entry = of(before, protocol);
      ASSERT_NE(entry, before.end()) << net::text_of(protocol);
      EXPECT_TRUE(entry->has_label(101)) << net::text_of(protocol);
    }
    for (const auto protocol : {net::icmp, net::icmpv6, net::udp}) {
      const auto cleared = clear_label(*socket, *of(before, protocol), 101);
      ASSERT_TRUE(cleared) << cleared.error().what();
      EXPECT_TRUE(*cleared);
      const auto after = all(*socket);
      EXPECT_FALSE(of(after, protocol)->has_label(101)) << net::text_of(protocol);
      EXPECT_TRUE(of(after, net::tcp)->has_label(101)) << "another flow's label is not touched";
    }
  }));
}

TEST(Walk, LeavesTheOtherLabelsOfTheFlow) {
  EXPECT_TRUE(in_new_netns([] {
    make_flows();
    ASSERT_EQ(run("nft insert rule inet t out ct label set 3").output, "");
    EXPECT_EQ(run("ping -c 1 -W 3 127.0.0.2 >/dev/null").status, 0);
    auto socket = netlink::Socket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    for (const auto& entry : all(*socket)) {
      if (entry.original.destination != "127.0.0.2"_ip) continue;
      ASSERT_TRUE(entry.has_label(3) && entry.has_label(101));
      EXPECT_TRUE(clear_label(*socket, entry, 101).value_or(false));
    }
    std::size_t seen = 0;
    for (const auto& entry : all(*socket)) {
      if (entry.original.destination != "127.0.0.2"_ip) continue;
      ++seen;
      EXPECT_TRUE(entry.has_label(3));
      EXPECT_FALSE(entry.has_label(101));
    }
    EXPECT_EQ(seen, 1U);
  }));
}

TEST(Walk, AFlowThatHasGoneMeanwhileIsNoError) {
  EXPECT_TRUE(in_new_netns([] {
    make_flows();
    auto socket = netlink::Socket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    Entry gone;
    gone.original = to_service;
    gone.reply = from_endpoint;
    const auto cleared = clear_label(*socket, gone, 101);
    ASSERT_TRUE(cleared) << cleared.error().what();
    EXPECT_FALSE(*cleared);
  }));
}

// X-01: only flows with the label are asked about, and only the forbidden ones among them lose it.
TEST(Revoke, X_01_AsksAboutLabelledFlowsOnly) {
  EXPECT_TRUE(in_new_netns([] {
    EXPECT_EQ(run("nft add table inet t; nft 'add chain inet t o { type filter hook output priority 1; }';"
                  "nft add rule inet t o ct state new accept; ping -c 1 -W 3 127.0.0.3 >/dev/null")
                  .status,
              0);
    make_flows();
    auto socket = netlink::Socket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    std::vector<net::Flow> asked;
    const auto revoked = revoke(*socket, 101, [&](const net::Flow& flow) {
      asked.push_back(flow);
      return flow.protocol != net::udp;
    });
    ASSERT_TRUE(revoked) << revoked.error().what();
    EXPECT_EQ(revoked->labelled, asked.size());
    EXPECT_GT(revoked->walked, revoked->labelled);
    EXPECT_EQ(revoked->cleared, 1U);
    for (const auto& flow : asked) EXPECT_NE(flow.destination, "127.0.0.3"_ip);
    for (const auto& entry : all(*socket)) {
      EXPECT_EQ(entry.has_label(101),
                entry.original.protocol != net::udp && entry.original.destination != "127.0.0.3"_ip);
    }
  }));
}

}  // namespace
}  // namespace podfence::conntrack
