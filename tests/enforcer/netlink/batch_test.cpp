#include "enforcer/netlink/batch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/element.h"
#include "enforcer/netlink/objects.h"

namespace podfence::netlink {
namespace {

using net::Direction;
using net::Family;
using program::Element;
using program::SetId;
using program::Shape;

std::vector<Element> many(std::size_t count) {
  std::vector<Element> elements;
  for (std::size_t i = 0; i < count; ++i) {
    Element e;
    e.address = net::IpAddr::v4(10, static_cast<std::uint8_t>(i >> 16U), static_cast<std::uint8_t>(i >> 8U & 0xffU),
                                static_cast<std::uint8_t>(i & 0xffU));
    e.address_last = e.address;
    e.class_id = program::first_class;
    elements.push_back(e);
  }
  return elements;
}

std::vector<const nlmsghdr*> messages_of(std::span<const std::byte> bytes) {
  std::vector<const nlmsghdr*> messages;
  for_each_message(bytes, [&](const nlmsghdr* message) {
    messages.push_back(message);
    return true;
  });
  return messages;
}

TEST(Batch, NumbersItsMessagesAndAsksForOneAnswer) {
  const auto elements = many(5000);
  Batch batch;
  EXPECT_TRUE(batch.empty());
  batch.put_elements({Shape::peer_class, Direction::ingress, Family::ipv4}, elements, false);
  for (const std::uint32_t generation : {7U, 8U}) {  // sealed again after ERESTART
    const auto messages = messages_of(batch.seal(generation, 100 * generation));
    ASSERT_GT(messages.size(), 4U);
    EXPECT_EQ(messages.front()->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
    EXPECT_EQ(messages.back()->nlmsg_type, NFNL_MSG_BATCH_END);
    EXPECT_EQ(batch.sequences_used(), messages.size());
    for_each_attribute(attributes_of(messages.front(), sizeof(nfgenmsg)), [&](const Attribute& a) {
      EXPECT_EQ(a.type, NFNL_BATCH_GENID);
      EXPECT_EQ(a.be32(), generation);
    });
    for (std::size_t i = 0; i < messages.size(); ++i) {
      EXPECT_EQ(messages[i]->nlmsg_seq, 100 * generation + i);
      EXPECT_LT(messages[i]->nlmsg_len, 0xffffU);
      EXPECT_EQ((messages[i]->nlmsg_flags & NLM_F_ACK) != 0, i + 2 == messages.size()) << i;
    }
    EXPECT_EQ(batch.last_sequence(), messages[messages.size() - 2]->nlmsg_seq);
  }
  batch.clear();
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(messages_of(batch.seal(1, 1)).size(), 2U);
}

TEST(Batch, RemovesBeforeItAdds) {
  diff::Changes changes;
  const SetId port{Shape::peer_class, Direction::ingress, Family::ipv4};
  const SetId known{Shape::known, Direction::ingress, Family::ipv4};
  changes.sets[port].added = many(1);
  changes.sets[known].removed = many(1);
  changes.sets[known].added = many(1);
  Batch batch;
  encode(batch, changes, std::nullopt, 0);
  std::vector<int> types;
  for (const auto* m : messages_of(batch.seal(1, 1))) types.push_back(m->nlmsg_type & 0xff);
  EXPECT_EQ(types, (std::vector<int>{NFNL_MSG_BATCH_BEGIN, NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM, NFT_MSG_NEWSETELEM,
                                     NFNL_MSG_BATCH_END}));
}

/// Offset into the message of the n-th NFTA_LIST_ELEM.
std::uint32_t offset_of_element(const nlmsghdr* message, std::size_t n) {
  std::uint32_t offset = 0;
  std::size_t seen = 0;
  for_each_attribute(attributes_of(message, sizeof(nfgenmsg)), [&](const Attribute& list) {
    if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
    for_each_attribute(list.value, [&](const Attribute& element) {
      if (seen++ != n) return;
      const auto* start = reinterpret_cast<const std::byte*>(message);
      offset = static_cast<std::uint32_t>(element.value.data() - start - static_cast<std::ptrdiff_t>(sizeof(nlattr)));
    });
  });
  return offset;
}

TEST(Batch, NamesTheElementThatAnAnswerPointsAt) {
  const auto elements = many(2000);
  for (const Shape shape : {Shape::isolated, Shape::cidr_class}) {
    const SetId set{shape, Direction::egress, Family::ipv4};
    Batch batch;
    batch.put_elements(set, elements, true);
    const auto messages = messages_of(batch.seal(1, 50));
    const std::size_t parts = kernel_elements(set, elements[0]);
    std::size_t first = 0;
    for (std::size_t m = 1; m + 1 < messages.size(); ++m) {
      std::size_t count = 0;
      while (offset_of_element(messages[m], count) != 0) ++count;
      for (const std::size_t n : {std::size_t{0}, std::size_t{1}, count / 2, count - 1}) {
        const auto culprit = batch.culprit(messages[m]->nlmsg_seq, offset_of_element(messages[m], n));
        ASSERT_TRUE(culprit && culprit->element);
        EXPECT_EQ(culprit->set, set);
        EXPECT_TRUE(culprit->removal);
        EXPECT_EQ(*culprit->element, elements[first + n / parts]);
      }
      const auto without = batch.culprit(messages[m]->nlmsg_seq, std::nullopt);
      ASSERT_TRUE(without);
      EXPECT_FALSE(without->element);
      first += count / parts;
    }
    EXPECT_EQ(first, elements.size());
    EXPECT_FALSE(batch.culprit(50, std::nullopt));
    EXPECT_FALSE(batch.culprit(4711, 40));
  }
}

TEST(Objects, AreTheTypesThatLayoutSays) {
  const auto range = spec_of(SetId{Shape::class_range, Direction::ingress, Family::ipv6});
  EXPECT_EQ(range.key_type, ((23U * 64 + 8) * 64 + 12) * 64 + 13);
  EXPECT_EQ(range.key_size, 28U);
  EXPECT_EQ(range.field_sizes, (std::vector<std::uint32_t>{4, 16, 1, 2}));
  EXPECT_EQ(all_sets().size(), program::set_count + program::meters().size() + net::directions.size());
}

}  // namespace
}  // namespace podfence::netlink
