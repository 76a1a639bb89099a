#include "policy/diff/diff.h"

#include <gtest/gtest.h>

#include "policy/net/ip.h"
#include "tests/policy/program/random_program.h"

namespace podfence::diff {
namespace {

using namespace net::literals;
using net::Direction;
using net::Family;
using program::Element;
using program::Program;
using program::SetId;
using program::Shape;

constexpr SetId peers{Shape::peer_class, Direction::ingress, Family::ipv4};
constexpr SetId ports{Shape::class_port, Direction::ingress, Family::ipv4};
constexpr SetId ranges{Shape::class_range, Direction::egress, Family::ipv4};
constexpr SetId managed{Shape::managed, Direction::ingress, Family::ipv4};

Element peer(const net::IpAddr& ip, program::ClassId id) {
  return {ip, {}, id, {}, {}};
}
Element port(const net::IpAddr& ip, std::uint16_t first, std::uint16_t last) {
  return {ip, {}, program::first_class, net::tcp, {net::Port{first}, net::Port{last}}};
}

Program with(SetId set, std::vector<Element> elements) {
  Program p;
  p.at(set) = std::move(elements);
  return p;
}

TEST(Diff, OfEqualProgramsIsEmpty) {
  const Program p = with(ports, {port("10.0.0.1"_ip, 80, 80)});
  EXPECT_TRUE(changes_between(p, p).empty());
  EXPECT_EQ(changes_between(p, p).operations(), 0U);
  EXPECT_EQ(text_of(changes_between(p, p)), "");
}

TEST(Diff, RemovesBeforeItAddsInEverySet) {
  Program before = with(peers, {peer("10.0.0.1"_ip, 0x10000)});
  before.at(ports) = {port("10.0.0.9"_ip, 80, 80)};
  Program after = with(peers, {peer("10.0.0.1"_ip, 0x10001)});
  after.at(ports) = {port("10.0.0.9"_ip, 81, 81)};
  const Changes changes = changes_between(before, after);
  EXPECT_EQ(changes.operations(), 4U);
  EXPECT_EQ(text_of(changes),
            "remove in_peer4 { 10.0.0.1 : 1:0 }\n"
            "add in_peer4 { 10.0.0.1 : 1:1 }\n"
            "remove in_port4 { 1:0 . 10.0.0.9 . tcp . 80 }\n"
            "add in_port4 { 1:0 . 10.0.0.9 . tcp . 81 }\n");
}

TEST(Diff, OfOtherOptionsIsAnInstallOfEverything) {
  const Program before = with(ports, {port("10.0.0.9"_ip, 80, 80)});
  Program after = before;
  after.options.label_bit = 7;
  const Changes changes = changes_between(before, after);
  EXPECT_TRUE(changes.install);
  EXPECT_EQ(changes.operations(), 2U);
  EXPECT_EQ(text_of(changes), "install\nadd in_port4 { 1:0 . 10.0.0.9 . tcp . 80 }\n");
  EXPECT_EQ(apply(changes, before).value(), after);
}

TEST(Diff, InstallOfNothingIsNotEmpty) {
  const Changes changes = install_of(Program{});
  EXPECT_FALSE(changes.empty());
  EXPECT_EQ(apply(changes, with(ports, {port("10.0.0.9"_ip, 80, 80)})).value(), Program{});
}

struct Refused {
  std::string_view name;
  Program before;
  SetId set;
  SetChange change;
  Errc code;
  std::string_view what;
};

TEST(Apply, RefusesWhatTheKernelWould) {
  const auto a = "10.0.0.1"_ip;
  const std::vector<Refused> cases{
      {"remove what is not there", Program{}, ports, {{port(a, 80, 80)}, {}}, Errc::not_found, "in_port4"},
      {"remove with other data",
       with(peers, {peer(a, 0x10000)}),
       peers,
       {{peer(a, 0x10001)}, {}},
       Errc::not_found,
       "10.0.0.1 : 1:1"},
      {"add what is there", with(ports, {port(a, 80, 80)}), ports, {{}, {port(a, 80, 80)}}, Errc::refused, "in_port4"},
      {"add a key that is there",
       with(peers, {peer(a, 0x10000)}),
       peers,
       {{}, {peer(a, 0x10001)}},
       Errc::refused,
       "10.0.0.1"},
      {"add one key twice", Program{}, peers, {{}, {peer(a, 0x10000), peer(a, 0x10001)}}, Errc::refused, "in_peer4"},
      {"add ports that overlap",
       with(ranges, {port(a, 80, 99)}),
       ranges,
       {{}, {port(a, 99, 120)}},
       Errc::refused,
       "out_range4"},
      {"add addresses that overlap",
       with(managed, {{a, "10.0.0.9"_ip, 0, {}, {}}}),
       managed,
       {{}, {{"10.0.0.9"_ip, "10.0.0.12"_ip, 0, {}, {}}}},
       Errc::refused,
       "managed4"},
  };
  for (const Refused& c : cases) {
    Changes changes;
    changes.sets[c.set] = c.change;
    const auto result = apply(changes, c.before);
    ASSERT_FALSE(result) << c.name;
    EXPECT_EQ(result.error().code(), c.code) << c.name;
    EXPECT_NE(result.error().what().find(c.what), std::string::npos) << c.name << ": " << result.error().what();
  }
}

TEST(Apply, TakesNewDataForAKeyAndARangeBesideAnother) {
  const auto a = "10.0.0.1"_ip;
  Changes changes;
  changes.sets[peers] = {{peer(a, 0x10000)}, {peer(a, 0x10001)}};
  changes.sets[ranges] = {{}, {port(a, 100, 120)}};
  Program before = with(peers, {peer(a, 0x10000)});
  before.at(ranges) = {port(a, 80, 99)};
  EXPECT_TRUE(apply(changes, before));
}

TEST(Merge, WhatComesAndGoesLeavesNothing) {
  const Program a = with(peers, {peer("10.0.0.1"_ip, 0x10000)});
  const Program b = with(peers, {peer("10.0.0.1"_ip, 0x10001), peer("10.0.0.2"_ip, 0x10001)});
  EXPECT_TRUE(merge(changes_between(a, b), changes_between(b, a)).empty());
  EXPECT_TRUE(merge(changes_between(b, a), changes_between(a, b)).empty());
}

TEST(Merge, AnInstallForgetsWhatCameBefore) {
  const Program a = with(peers, {peer("10.0.0.1"_ip, 0x10000)});
  const Program b = with(ports, {port("10.0.0.1"_ip, 80, 80)});
  EXPECT_EQ(merge(changes_between(Program{}, a), install_of(b)), install_of(b));
  EXPECT_EQ(merge(install_of(a), changes_between(a, b)), install_of(b));
}

/// A neighbour of a program, as real changes are: most elements stay.
Program mutated(std::mt19937_64& random, const Program& p) {
  Program other = test::random_program(random, 12);
  for (std::size_t i = 0; i < program::set_count; ++i) {
    if (random() % 3 != 0) other.sets[i] = p.sets[i];
    if (!other.sets[i].empty() && random() % 4 == 0) other.sets[i].pop_back();
  }
  if (random() % 16 == 0) other.options.log_group = static_cast<std::uint16_t>(random() % 3);
  return other;
}

TEST(Laws, HoldForRandomHistories) {
  std::mt19937_64 random(test::test_seed());
  for (int round = 0; round < 500; ++round) {
    const Program a = test::random_program(random, 12);
    const Program b = mutated(random, a);
    const Program c = mutated(random, b);
    const Changes ab = changes_between(a, b);
    const Changes bc = changes_between(b, c);
    ASSERT_TRUE(changes_between(a, a).empty());
    ASSERT_EQ(ab.empty(), a == b);
    ASSERT_EQ(apply(ab, a).value(), b) << text_of(ab);
    ASSERT_EQ(apply(install_of(b), a).value(), b);
    const Changes ac = merge(ab, bc);
    ASSERT_EQ(apply(ac, a).value(), c) << text_of(ab) << "then\n" << text_of(bc) << "merged\n" << text_of(ac);
    ASSERT_EQ(merge(ab, Changes{}), ab);
    ASSERT_EQ(merge(Changes{}, ab), ab);
    if (!ab.install && !bc.install) {
      ASSERT_EQ(ac, changes_between(a, c));
    }
    for (const auto& [set, change] : ac.sets) ASSERT_FALSE(change.empty());
  }
}

}  // namespace
}  // namespace podfence::diff
