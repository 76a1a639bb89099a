#include "policy/base/cursor.h"

#include <gtest/gtest.h>

#include <array>

#include "policy/base/result.h"

namespace podfence {
namespace {

constexpr std::array<std::byte, 5> bytes{std::byte{0x12}, std::byte{0x34}, std::byte{0x56}, std::byte{0x78},
                                         std::byte{0x9a}};

TEST(Cursor, takes_to_the_end_and_no_further) {
  Cursor cursor(bytes);
  EXPECT_EQ(cursor.take(2)->size(), 2U);
  EXPECT_EQ(cursor.left(), 3U);
  EXPECT_FALSE(cursor.take(4));
  EXPECT_EQ(cursor.left(), 3U);  // it did not move
  EXPECT_EQ(cursor.take(3)->back(), std::byte{0x9a});
  EXPECT_EQ(cursor.take(0)->size(), 0U);
  EXPECT_FALSE(cursor.take(1));
  EXPECT_FALSE(cursor.take(static_cast<std::size_t>(-1)));
}

TEST(Cursor, reads_network_order) {
  Cursor cursor(bytes);
  EXPECT_EQ(cursor.take_be16(), 0x1234U);
  EXPECT_FALSE(cursor.take_be32());
  EXPECT_EQ(cursor.left(), 3U);
  EXPECT_EQ(cursor.take_be16(), 0x5678U);
  EXPECT_FALSE(cursor.take_be16());
  EXPECT_EQ(cursor.rest().front(), std::byte{0x9a});
  Cursor again(bytes);
  EXPECT_EQ(again.take_be32(), 0x12345678U);
}

TEST(Cursor, reads_values_as_they_lie) {
  struct Pair {
    std::uint8_t a;
    std::uint8_t b;
  };
  Cursor cursor(bytes);
  const auto pair = cursor.take_as<Pair>();
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->a, 0x12);
  EXPECT_EQ(pair->b, 0x34);
  EXPECT_FALSE(cursor.take_as<std::uint32_t>());
  EXPECT_EQ(cursor.left(), 3U);
}

TEST(Error, tells_where_it_happened) {
  const Result<int> failed = fail(Errc::limit, "too long");
  ASSERT_FALSE(failed);
  const Error error = Error(failed.error()).in("line 3").in("a.yaml");
  EXPECT_EQ(error.what(), "a.yaml: line 3: too long");
  EXPECT_EQ(error.code(), Errc::limit);
  EXPECT_EQ(name_of(error.code()), "limit");
}

TEST(Errc, names_differ) {
  const std::array all{Errc::invalid,    Errc::limit,       Errc::not_found, Errc::refused,
                       Errc::permission, Errc::unavailable, Errc::busy,      Errc::io};
  for (const auto a : all) {
    for (const auto b : all) EXPECT_EQ(name_of(a) == name_of(b), a == b);
  }
}

}  // namespace
}  // namespace podfence
