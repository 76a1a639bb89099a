#include "policy/program/print.h"

#include <gtest/gtest.h>

#include "policy/net/ip.h"
#include "tests/policy/program/random_program.h"
#include "tests/support/golden.h"
#include "tests/support/netns.h"

namespace podfence::program {
namespace {

using namespace net::literals;
using net::Direction;
using net::Family;

std::string golden_path(const std::string& name) {
  const std::string here = __FILE__;
  return here.substr(0, here.rfind('/')) + "/golden/" + name;
}

void expect_golden(const std::string& name, const std::string& text) {
  test::expect_golden(golden_path(name), text);
}

net::PortRange ports(std::uint16_t first, std::uint16_t last) {
  return {net::Port{first}, net::Port{last}};
}

/// One element or more of every shape and family.
Program small_program() {
  Program p;
  for (const Family f : net::families) {
    const auto pod = f == Family::ipv4 ? "10.1.0.5"_ip : "fd00:1::5"_ip;
    const auto peer = f == Family::ipv4 ? "10.2.0.9"_ip : "fd00:2::9"_ip;
    const auto block = net::Cidr::around(peer, f == Family::ipv4 ? 16 : 64).range();
    for (const Direction d : net::directions) {
      p.at({Shape::cidr_class, d, f}) = {{block.first, block.last, first_class + 1, {}, {}}};
      p.at({Shape::peer_class, d, f}) = {{peer, {}, first_class, {}, {}}};
      p.at({Shape::isolated, d, f}) = {{pod, {}, no_class, {}, {}}};
      p.at({Shape::class_port, d, f}) = {{pod, {}, first_class, net::tcp, ports(80, 80)},
                                         {pod, {}, first_class, net::udp, ports(53, 53)}};
      p.at({Shape::class_range, d, f}) = {{pod, {}, first_class, net::tcp, ports(8000, 9000)}};
      p.at({Shape::class_protocol, d, f}) = {{pod, {}, first_class, net::sctp, {}}};
      p.at({Shape::class_any, d, f}) = {{pod, {}, first_class + 1, {}, {}}};
      p.at({Shape::all_port, d, f}) = {{pod, {}, no_class, net::tcp, ports(443, 443)}};
      p.at({Shape::all_range, d, f}) = {{pod, {}, no_class, net::udp, ports(30000, 32767)}};
      p.at({Shape::all_protocol, d, f}) = {{pod, {}, no_class, net::icmp, {}}};
      p.at({Shape::all_any, d, f}) = {{pod, {}, no_class, {}, {}}};
    }
    const auto range = net::Cidr::around(pod, f == Family::ipv4 ? 24 : 64).range();
    p.at({Shape::self, Direction::ingress, f}) = {{pod, {}, no_class, {}, {}}};
    p.at({Shape::managed, Direction::ingress, f}) = {{range.first, range.last, no_class, {}, {}}};
    p.at({Shape::known, Direction::ingress, f}) = {{pod, {}, no_class, {}, {}}};
  }
  return p;
}

/// nft takes our text, lists the very same, takes its own listing again, and can print it as JSON.
void expect_nft_agrees(const Program& program) {
  const std::string text = print(program);
  const auto loaded = test::run_with_input("nft -f -", text);
  ASSERT_EQ(loaded.status, 0) << loaded.output << text;
  const auto listed = test::run("nft list table inet podfence");
  ASSERT_EQ(listed.status, 0) << listed.output;
  EXPECT_EQ(listed.output, text);
  EXPECT_EQ(test::run("nft list ruleset").status, 0);
  EXPECT_EQ(test::run("nft -j list ruleset > /dev/null").status, 0);
  EXPECT_EQ(test::run("nft flush ruleset").status, 0);
  const auto reloaded = test::run_with_input("nft -f -", listed.output);
  EXPECT_EQ(reloaded.status, 0) << reloaded.output;
  EXPECT_EQ(test::run("nft list ruleset").output, listed.output);
  EXPECT_EQ(test::run("nft flush ruleset").status, 0);
}

TEST(Print, EmptyProgramIsTheGoldenText) {
  expect_golden("empty.nft", print(Program{}));
}

TEST(Print, ProgramWithEveryShapeIsTheGoldenText) {
  expect_golden("every_shape.nft", print(small_program()));
}

TEST(Print, OptionsReachTheRules) {
  Program p;
  p.options = {7, 3, 5, 11};
  const std::string text = print(p);
  EXPECT_NE(text.find("ct state established,related ct label 3 accept\n"), std::string::npos);
  EXPECT_NE(text.find("ct label set 3 accept\n"), std::string::npos);
  EXPECT_NE(text.find("log prefix \"pf1:in:policy\" group 7 snaplen 128\n"), std::string::npos);
  EXPECT_NE(text.find("limit rate over 5/second burst 10 packets }"), std::string::npos);
  EXPECT_NE(text.find("\t\tlimit rate over 11/second burst 22 packets counter"), std::string::npos);
}

TEST(Print, NftListsTheEmptyProgramAlike) {
  EXPECT_TRUE(test::in_new_netns([] { expect_nft_agrees(Program{}); }));
}

TEST(Print, NftListsEveryShapeAlike) {
  EXPECT_TRUE(test::in_new_netns([] { expect_nft_agrees(small_program()); }));
}

TEST(Print, NftListsRandomProgramsAlike) {
  std::mt19937_64 random(test::test_seed());
  EXPECT_TRUE(test::in_new_netns([&random] {
    for (int i = 0; i < 20 && !::testing::Test::HasFailure(); ++i) expect_nft_agrees(test::random_program(random, 40));
  }));
}

}  // namespace
}  // namespace podfence::program
