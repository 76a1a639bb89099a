#include "enforcer/flow/aggregate.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/builders.h"

namespace podfence::flow {
namespace {

using podfence::test::ip;
using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint start = TimePoint(seconds(1'800'000'000));

LoggedPacket packet(const char* source = "10.0.1.5", const char* destination = "10.0.2.9", std::uint16_t port = 80,
                    std::uint16_t source_port = 40'000) {
  LoggedPacket logged;
  logged.prefix = {Why::policy, net::Direction::ingress};
  logged.has_ip = true;
  logged.source = ip(source);
  logged.destination = ip(destination);
  logged.protocol = net::tcp;
  logged.source_port = net::Port{source_port};
  logged.destination_port = net::Port{port};
  logged.in_interface = 3;
  logged.out_interface = 4;
  logged.bytes = 60;
  return logged;
}

TEST(EntryOf, AReplyIsNamedAfterWhoBeganTheFlow) {
  LoggedPacket reply = packet("10.0.2.9", "10.0.1.5", 40'000, 80);  // from the server's port back
  reply.prefix.why = Why::reply;
  const FlowEntry entry = entry_of(reply, start);
  EXPECT_EQ(entry.key.source, ip("10.0.1.5"));
  EXPECT_EQ(entry.key.destination, ip("10.0.2.9"));
  EXPECT_EQ(entry.key.destination_port, net::Port{80});
  EXPECT_EQ(entry.source_port, net::Port{40'000});
}

TEST(EntryOf, TheInterfaceIsTheLocalPods) {
  const auto interface = [](net::Direction direction, Why why) {
    LoggedPacket p = packet();
    p.prefix = {why, direction};
    return entry_of(p, start).key.interface;
  };
  EXPECT_EQ(interface(net::Direction::ingress, Why::policy), 4U);
  EXPECT_EQ(interface(net::Direction::egress, Why::policy), 3U);
  EXPECT_EQ(interface(net::Direction::ingress, Why::reply), 3U) << "the pod answers: the packet came from it";
  EXPECT_EQ(interface(net::Direction::egress, Why::reply), 4U);
  EXPECT_EQ(interface(net::Direction::egress, Why::spoof), 3U);
}

TEST(EntryOf, ATimeThatCannotBeIsReplacedByTheTimeOfReceipt) {
  LoggedPacket p = packet();
  p.time = start - milliseconds(150);
  EXPECT_EQ(entry_of(p, start).first, start - milliseconds(150));
  p.time = start + seconds(30);
  EXPECT_EQ(entry_of(p, start).first, start);
  p.time = start - seconds(3600);
  EXPECT_EQ(entry_of(p, start).first, start);
}

TEST(Aggregator, MergesPacketsOfAFlowWithinAWindow) {
  Aggregator aggregator;
  for (int i = 0; i < 14; ++i) {
    const auto now = start + milliseconds(100 * i);
    EXPECT_FALSE(
        aggregator.add(entry_of(packet("10.0.1.5", "10.0.2.9", 80, static_cast<std::uint16_t>(40'000 + i)), now), now));
  }
  EXPECT_TRUE(aggregator.take_due(start + milliseconds(4'999)).empty());
  const auto due = aggregator.take_due(start + seconds(5));
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].count, 14U);
  EXPECT_EQ(due[0].bytes, 840U);
  EXPECT_EQ(due[0].first, start);
  EXPECT_EQ(due[0].last, start + milliseconds(1'300));
  EXPECT_EQ(due[0].source_port, net::Port{40'000}) << "of the first packet";
  EXPECT_TRUE(aggregator.take_due(start + seconds(15)).empty()) << "it did not go on";
  EXPECT_EQ(aggregator.size(), 0U);
}

/// The seconds in which a flow with a packet each second is given out, and how many packets each time.
std::map<int, std::uint64_t> given_out_of_a_flow_of(int length, int quiet_from, int quiet_to) {
  Aggregator aggregator;
  std::map<int, std::uint64_t> given;
  for (int second = 0; second < length; ++second) {
    const auto now = start + seconds(second);
    for (const auto& entry : aggregator.take_due(now)) given[second] += entry.count;
    if (second >= quiet_from && second < quiet_to) continue;
    EXPECT_FALSE(aggregator.add(entry_of(packet(), now), now));
  }
  for (const auto& entry : aggregator.take_all()) given[length] += entry.count;
  return given;
}

TEST(Aggregator, WhatGoesOnIsGivenOutLessOften) {
  using Given = std::map<int, std::uint64_t>;
  EXPECT_EQ(given_out_of_a_flow_of(60, 60, 60), (Given{{5, 5}, {15, 10}, {35, 20}, {55, 20}, {60, 5}}));
  EXPECT_EQ(given_out_of_a_flow_of(40, 16, 40), (Given{{5, 5}, {15, 10}, {35, 1}})) << "one packet waited for more";
  EXPECT_EQ(given_out_of_a_flow_of(30, 5, 20), (Given{{5, 5}, {25, 5}, {30, 5}})) << "quiet for long: as new";
}

TEST(Aggregator, WhatBeginsAgainIsDescribedByItsFirstPacketThen) {
  Aggregator aggregator;
  aggregator.add(entry_of(packet("10.0.1.5", "10.0.2.9", 80, 1), start), start);
  ASSERT_EQ(aggregator.take_due(start + seconds(5)).size(), 1U);
  aggregator.add(entry_of(packet("10.0.1.5", "10.0.2.9", 80, 2), start + seconds(6)), start + seconds(6));
  const auto due = aggregator.take_due(start + seconds(15));
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].first, start + seconds(6));
  EXPECT_EQ(due[0].source_port, net::Port{2});
  EXPECT_EQ(due[0].bytes, 60U);
}

TEST(Aggregator, KeepsApartWhatDiffersInOnePartOfTheKey) {
  Aggregator aggregator;
  std::vector<FlowEntry> entries(8, entry_of(packet(), start));
  entries[1].key.source = ip("10.0.1.6");
  entries[2].key.destination = ip("10.0.2.8");
  entries[3].key.destination_port = net::Port{81};
  entries[4].key.protocol = net::udp;
  entries[5].key.prefix.direction = net::Direction::egress;
  entries[6].key.prefix.why = Why::unknown;
  entries[7].key.version = 1;
  for (const auto& entry : entries) aggregator.add(entry, start);
  EXPECT_EQ(aggregator.size(), entries.size());
}

TEST(Aggregator, AFullTableGivesOutItsOldestAndLosesNothing) {
  Aggregator aggregator({.most_entries = 16});
  std::uint64_t given = 0;
  for (std::uint16_t port = 1; port <= 1000; ++port) {
    if (const auto oldest = aggregator.add(entry_of(packet("10.0.1.5", "10.0.2.9", port), start), start)) {
      given += oldest->count;
      EXPECT_EQ(oldest->key.destination_port.number, port - 16);
    }
    ASSERT_LE(aggregator.size(), 16U);
  }
  for (const auto& entry : aggregator.take_all()) given += entry.count;
  EXPECT_EQ(given, 1000U);
}

TEST(Aggregator, AClockThatIsSetBackHoldsNothing) {
  Aggregator aggregator;
  aggregator.add(entry_of(packet(), start), start);
  EXPECT_EQ(aggregator.take_due(start - seconds(3600)).size(), 1U);
}

}  // namespace
}  // namespace podfence::flow
