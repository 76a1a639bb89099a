#include "enforcer/netlink/element.h"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

#include <array>
#include <random>

#include "enforcer/netlink/attribute.h"
#include "tests/policy/program/random_program.h"

namespace podfence::netlink {
namespace {

using namespace net::literals;
using net::Direction;
using net::Family;
using program::Element;
using program::SetId;
using program::Shape;

/// The element as one or two lists of attributes, as the kernel would dump them.
std::vector<std::vector<std::byte>> encoded(SetId set, const Element& element) {
  std::array<std::byte, 2048> buffer{};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  put_element(message, set, element, true);
  EXPECT_LE(message->nlmsg_len, sizeof(nlmsghdr) + max_element_size);
  std::vector<std::vector<std::byte>> parts;
  EXPECT_TRUE(for_each_attribute(attributes_of(message, 0), [&](const Attribute& a) {
    EXPECT_EQ(a.type, NFTA_LIST_ELEM);
    parts.emplace_back(a.value.begin(), a.value.end());
  }));
  EXPECT_EQ(parts.size(), kernel_elements(set, element));
  return parts;
}

/// The bytes of one NFTA_SET_ELEM_*'s value.
std::vector<int> value_of(const std::vector<std::byte>& attributes, std::uint16_t wanted) {
  std::vector<int> value;
  for_each_attribute(attributes, [&](const Attribute& a) {
    if (a.type != wanted) return;
    for_each_attribute(a.value, [&](const Attribute& inner) {
      for (const auto byte : inner.value) value.push_back(std::to_integer<int>(byte));
    });
  });
  return value;
}

TEST(PutElement, LaysOutKeysAsNftDoes) {
  Element e;
  e.address = "10.0.0.1"_ip;
  e.class_id = 0x00010203;
  e.protocol = net::tcp;
  e.ports = {net::Port{80}, net::Port{8080}};
  const auto hash = encoded({Shape::class_port, Direction::ingress, Family::ipv4}, e);
  const std::uint32_t host = e.class_id;
  std::array<std::uint8_t, 4> raw{};
  std::memcpy(raw.data(), &host, 4);
  EXPECT_EQ(value_of(hash[0], NFTA_SET_ELEM_KEY),
            (std::vector<int>{raw[0], raw[1], raw[2], raw[3], 10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0}));
  const auto interval = encoded({Shape::class_range, Direction::ingress, Family::ipv4}, e);
  EXPECT_EQ(value_of(interval[0], NFTA_SET_ELEM_KEY),
            (std::vector<int>{0, 1, 2, 3, 10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0}));
  EXPECT_EQ(value_of(interval[0], NFTA_SET_ELEM_KEY_END),
            (std::vector<int>{0, 1, 2, 3, 10, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0}));
  const auto self = encoded({Shape::self, Direction::ingress, Family::ipv4}, e);
  EXPECT_EQ(value_of(self[0], NFTA_SET_ELEM_KEY), (std::vector<int>{10, 0, 0, 1, 10, 0, 0, 1}));
  const auto peer = encoded({Shape::peer_class, Direction::egress, Family::ipv4}, e);
  EXPECT_EQ(value_of(peer[0], NFTA_SET_ELEM_DATA), (std::vector<int>{raw[0], raw[1], raw[2], raw[3]}));
}

TEST(PutElement, EndsARangeAfterItsLastAddress) {
  const SetId set{Shape::managed, Direction::ingress, Family::ipv4};
  const auto parts = encoded(set, {"10.0.0.0"_ip, "10.0.0.255"_ip, 0, {}, {}});
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(value_of(parts[1], NFTA_SET_ELEM_KEY), (std::vector<int>{10, 0, 1, 0}));
  EXPECT_EQ(encoded(set, {"10.0.0.0"_ip, "255.255.255.255"_ip, 0, {}, {}}).size(), 1U);
}

TEST(ElementReader, GivesBackWhatWasPut) {
  std::mt19937_64 random(test::test_seed());
  for (int round = 0; round < 100; ++round) {
    const auto program = test::random_program(random, 20);
    for (std::size_t i = 0; i < program::set_count; ++i) {
      const SetId set = program::set_at(i);
      std::vector<std::vector<std::byte>> parts;
      for (const Element& e : program.sets[i]) {
        for (auto& part : encoded(set, e)) parts.push_back(std::move(part));
      }
      std::shuffle(parts.begin(), parts.end(), random);  // the kernel dumps in an order of its own
      ElementReader reader(set);
      for (const auto& part : parts) EXPECT_TRUE(reader.feed(part));
      std::vector<Element> out;
      EXPECT_EQ(reader.finish(out), ElementReader::Outcome::whole) << name_of(set);
      EXPECT_EQ(out, program.sets[i]) << name_of(set);
    }
  }
}

TEST(ElementReader, PairsRangesAtTheEdges) {
  const SetId set{Shape::cidr_class, Direction::ingress, Family::ipv4};
  const std::vector<std::vector<Element>> cases{
      {{"0.0.0.0"_ip, "255.255.255.255"_ip, 0x10000, {}, {}}},
      {{"0.0.0.0"_ip, "0.0.0.0"_ip, 0x10000, {}, {}}, {"0.0.0.1"_ip, "255.255.255.255"_ip, 0x10001, {}, {}}},
      {{"255.255.255.255"_ip, "255.255.255.255"_ip, 0x10000, {}, {}}},
      {{"10.0.0.0"_ip, "10.0.0.0"_ip, 0x10000, {}, {}},
       {"10.0.0.1"_ip, "10.0.0.1"_ip, 0x10000, {}, {}},
       {"10.0.0.2"_ip, "10.0.0.2"_ip, 0x10001, {}, {}}}};
  for (const auto& elements : cases) {
    ElementReader reader(set);
    for (auto e = elements.rbegin(); e != elements.rend(); ++e) {
      for (const auto& part : encoded(set, *e)) EXPECT_TRUE(reader.feed(part));
    }
    std::vector<Element> out;
    EXPECT_EQ(reader.finish(out), ElementReader::Outcome::whole);
    EXPECT_EQ(out, elements);
  }
}

TEST(ElementReader, PassesOverTheEndThatNftPutsAtTheLowestAddress) {
  const SetId set{Shape::managed, Direction::ingress, Family::ipv4};
  const Element e{"10.0.0.0"_ip, "10.0.0.255"_ip, 0, {}, {}};
  // Borrowed from a range that ends there: an end mark whose key is then set to zero.
  auto lowest = encoded(set, e)[1];
  std::fill(lowest.begin() + 8, lowest.begin() + 12, std::byte{0});
  ElementReader reader(set);
  EXPECT_TRUE(reader.feed(lowest));
  for (const auto& part : encoded(set, e)) EXPECT_TRUE(reader.feed(part));
  std::vector<Element> out;
  EXPECT_EQ(reader.finish(out), ElementReader::Outcome::whole);
  EXPECT_EQ(out, (std::vector<Element>{e}));
}

TEST(ElementReader, TellsEndsWithoutABeginning) {
  const SetId set{Shape::managed, Direction::ingress, Family::ipv4};
  ElementReader reader(set);
  EXPECT_TRUE(reader.feed(encoded(set, {"10.0.0.0"_ip, "10.0.0.255"_ip, 0, {}, {}})[1]));
  std::vector<Element> out;
  EXPECT_EQ(reader.finish(out), ElementReader::Outcome::foreign);
}

TEST(ElementReader, TellsAnElementThatCameTwice) {
  const SetId set{Shape::known, Direction::ingress, Family::ipv4};
  ElementReader reader(set);
  for (const auto& address : {"10.0.0.1"_ip, "10.0.0.2"_ip, "10.0.0.1"_ip}) {
    EXPECT_TRUE(reader.feed(encoded(set, {address, {}, 0, {}, {}})[0]));
  }
  std::vector<Element> out;
  EXPECT_EQ(reader.finish(out), ElementReader::Outcome::unsettled);
}

TEST(ElementReader, RefusesAKeyThatTheSetCannotHold) {
  const SetId self{Shape::self, Direction::ingress, Family::ipv4};
  auto bytes = encoded(self, {"10.0.0.1"_ip, {}, 0, {}, {}})[0];
  bytes[11] = std::byte{9};  // the first of the two addresses
  EXPECT_FALSE(ElementReader(self).feed(bytes));
  const SetId other{Shape::isolated, Direction::ingress, Family::ipv6};
  EXPECT_FALSE(ElementReader(other).feed(encoded(self, {"10.0.0.1"_ip, {}, 0, {}, {}})[0]));
}

TEST(ElementReader, NeverReadsPastTheEnd) {
  std::mt19937_64 random(test::test_seed());
  for (int round = 0; round < 20000; ++round) {
    const SetId set = program::set_at(random() % program::set_count);
    auto element = test::random_detail::random_element(random, set);
    if (has_end_marks(set.shape)) element.address_last = element.address;
    auto bytes = encoded(set, element)[0];
    bytes.resize(bytes.size() - random() % 12);
    for (int flips = 0; flips < 3; ++flips) bytes[random() % bytes.size()] = std::byte(random() & 0xffU);
    const std::vector<std::byte> exact(bytes);
    ElementReader reader(set);
    reader.feed(exact);
    std::vector<Element> out;
    reader.finish(out);
  }
}

}  // namespace
}  // namespace podfence::netlink
