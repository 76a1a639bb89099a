#include "policy/compile/address_table.h"

#include <gtest/gtest.h>

#include <iostream>
#include <map>

#include "tests/support/random_world.h"

namespace podfence::compile {
namespace {

using net::Direction;

// Against the plainest thing that does the same, with so few addresses that they meet.
TEST(AddressTable, does_what_a_map_does) {
  const std::uint64_t seed = test::seed_of_run();
  std::cout << "PODFENCE_SEED=" << seed << std::endl;
  test::Random random(seed);
  for (const unsigned bits : {4U, 8U, 14U}) {
    AddressTable table;
    std::map<net::IpAddr, AddressTable::Slots> model;
    for (std::size_t i = 0; i < 60000; ++i) {
      const auto n = static_cast<std::uint32_t>(random() & ((1U << bits) - 1));
      const auto ip = net::IpAddr::v4(10, 0, static_cast<std::uint8_t>(n >> 8U), static_cast<std::uint8_t>(n));
      const Direction direction = net::directions[random() % 2];
      const SlotId slot = random() % 2 == 0 ? 0 : static_cast<SlotId>(random() % 9);
      table.set(ip, direction, slot);
      model[ip][index_of(direction)] = slot;
      if (model[ip] == AddressTable::Slots{}) model.erase(ip);
      ASSERT_EQ(table.get(ip, direction), slot);
      ASSERT_EQ(table.size(), model.size());
    }
    std::map<net::IpAddr, AddressTable::Slots> seen;
    table.for_each([&](const net::IpAddr& ip, const AddressTable::Slots& slots) { seen[ip] = slots; });
    ASSERT_EQ(seen, model);
    for (const auto& [ip, slots] : model) {
      for (const Direction direction : net::directions) ASSERT_EQ(table.get(ip, direction), slots[index_of(direction)]);
    }
  }
}

TEST(AddressTable, an_empty_one_knows_nothing) {
  const AddressTable table;
  EXPECT_EQ(table.get(net::IpAddr::v4(10, 0, 0, 1), Direction::ingress), 0U);
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace podfence::compile
