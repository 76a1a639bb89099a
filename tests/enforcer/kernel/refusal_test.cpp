// What the kernel refuses is named, and nothing of the commit is done.
#include <gtest/gtest.h>

#include <cerrno>

#include "enforcer/netlink/objects.h"
#include "enforcer/netlink/transaction.h"
#include "tests/enforcer/kernel/worlds.h"

#include <linux/netlink.h>

namespace podfence::kernel {
namespace {

using net::Direction;
using net::Family;
using program::Element;
using program::Program;
using program::SetId;
using program::Shape;

const SetId peers{Shape::peer_class, Direction::ingress, Family::ipv4};
const SetId ranges{Shape::cidr_class, Direction::ingress, Family::ipv4};
const SetId known6{Shape::known, Direction::ingress, Family::ipv6};

/// A refusal of exactly that element, and the program as it was.
void expect_refused(NftKernel& kernel, const diff::Changes& changes, SetId set, const Element& element,
                    const Program& before) {
  const auto done = kernel.commit(changes);
  ASSERT_FALSE(done);
  const auto& refusal = done.error();
  EXPECT_EQ(refusal.set, set) << refusal.error.what();
  EXPECT_EQ(refusal.element, element) << refusal.error.what();
  EXPECT_NE(refusal.error.what().find(text_of(set, element)), std::string::npos) << refusal.error.what();
  EXPECT_NE(refusal.error.what().find(name_of(set)), std::string::npos) << refusal.error.what();
  EXPECT_TRUE(holds(kernel, before));
}

TEST(NftKernel, NamesTheElementThatIsThereAlready) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    Program program;
    const Element there{"10.0.5.5"_ip, {}, 0x10000, {}, {}};
    program.at(peers) = {there};
    program.at(known6) = {{"fd00::1"_ip, {}, 0, {}, {}}};
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));

    // In the middle of many messages.
    diff::Changes changes;
    changes.sets[peers].added = wide_program(5000).at(peers);
    changes.sets[known6].removed = program.at(known6);
    expect_refused(*kernel, changes, peers, wide_program(5000).at(peers)[5 * 256 + 5], program);
    EXPECT_EQ(kernel->commit(changes).error().error.code(), Errc::refused);
  }));
}

TEST(NftKernel, NamesTheElementThatIsNotThere) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(3000);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    diff::Changes changes;
    changes.sets[peers].removed = program.at(peers);
    auto& removed = changes.sets[peers].removed;
    removed[1234].address = "10.99.0.1"_ip;
    expect_refused(*kernel, changes, peers, removed[1234], program);
    EXPECT_EQ(kernel->commit(changes).error().error.code(), Errc::not_found);
  }));
}

TEST(NftKernel, NamesTheRangeThatOverlaps) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    Program program;
    program.at(ranges) = {{"10.0.0.0"_ip, "10.0.0.255"_ip, 0x10000, {}, {}}};
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    diff::Changes changes;
    changes.sets[ranges].added = {{"9.0.0.0"_ip, "9.0.0.255"_ip, 0x10001, {}, {}},
                                  {"10.0.0.0"_ip, "10.0.0.255"_ip, 0x10001, {}, {}},
                                  {"11.0.0.0"_ip, "11.0.0.255"_ip, 0x10001, {}, {}}};
    expect_refused(*kernel, changes, ranges, changes.sets[ranges].added[1], program);
  }));
}

TEST(NftKernel, LeavesTheOldTableWhenAnInstallIsRefused) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(100);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    auto changes = diff::install_of(wide_program(200));
    changes.sets[known6].added = {{"fd00::1"_ip, {}, 0, {}, {}}, {"fd00::1"_ip, {}, 0, {}, {}}};
    expect_refused(*kernel, changes, known6, changes.sets[known6].added[1], program);
  }));
}

TEST(NftKernel, SaysThatThereIsNoTable) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const auto done = kernel->commit(diff::changes_between({}, wide_program(10)));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().error.code(), Errc::not_found) << done.error().error.what();
    EXPECT_EQ(done.error().set, (SetId{Shape::peer_class, Direction::ingress, Family::ipv4}));
  }));
}

TEST(NftKernel, IsInStepAfterHundredsOfRefusals) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    // Every one of these messages is refused: none of the elements is there.
    diff::Changes changes;
    changes.sets[peers].removed = wide_program(400000).at(peers);
    const auto done = kernel->commit(changes);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().element, changes.sets[peers].removed.front());
    // And the socket is in step again.
    EXPECT_TRUE(committed(*kernel, diff::changes_between({}, wide_program(10))));
    EXPECT_TRUE(holds(*kernel, wide_program(10)));
  }));
}

TEST(Transaction, IsRefusedWhenTheGenerationMoved) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto socket = netlink::Socket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    const auto stale = netlink::generation(*socket);
    ASSERT_TRUE(stale) << stale.error().what();
    ASSERT_EQ(test::run("nft add table ip other").status, 0);
    netlink::Batch batch;
    netlink::put_table(batch, 0, true);
    auto refused = netlink::send_batch(*socket, batch, *stale);
    ASSERT_TRUE(refused) << refused.error().what();
    ASSERT_EQ(refused->size(), 1U);
    EXPECT_EQ(refused->front().error, ERESTART);
    EXPECT_EQ(test::run("nft list table inet podfence").status, 1);

    const auto present = netlink::generation(*socket);
    ASSERT_TRUE(present);
    EXPECT_NE(*present, *stale);
    refused = netlink::send_batch(*socket, batch, *present);
    ASSERT_TRUE(refused) << refused.error().what();
    EXPECT_TRUE(refused->empty());
    EXPECT_EQ(test::run("nft list table inet podfence").status, 0);
  }));
}

TEST(Transaction, KnowsOfARefusalEvenWhenAnswersAreLost) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    auto socket = netlink::Socket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    socket->grow_receive_buffer(1);  // room for a few answers
    netlink::Batch batch;
    diff::Changes changes;
    changes.sets[peers].removed = wide_program(100000).at(peers);
    netlink::encode(batch, changes, std::nullopt, 0);
    const auto present = netlink::generation(*socket);
    ASSERT_TRUE(present);
    const auto refused = netlink::send_batch(*socket, batch, *present);
    ASSERT_TRUE(refused) << refused.error().what();
    ASSERT_FALSE(refused->empty());
    EXPECT_LT(refused->size(), 20U);  // far from one for each message
    EXPECT_EQ(refused->front().error, ENOENT);
    EXPECT_TRUE(netlink::generation(*socket));
    EXPECT_TRUE(holds(*kernel, {}));
  }));
}

TEST(NftKernel, CommitsAndReadsBesideABusyForeignProcess) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    const auto started =
        test::run("(while :; do nft add table ip other; nft delete table ip other; done) >/dev/null 2>&1 & echo $!");
    ASSERT_EQ(started.status, 0);
    Program now;
    for (std::size_t round = 0; round < 300; ++round) {
      Program next = wide_program(round % 7 * 100);
      ASSERT_TRUE(committed(*kernel, diff::changes_between(now, next))) << round;
      now = std::move(next);
      if (round % 50 == 0) {
        ASSERT_TRUE(holds(*kernel, now)) << round;
      }
    }
    ASSERT_TRUE(committed(*kernel, diff::install_of(now)));
    EXPECT_TRUE(holds(*kernel, now));
    EXPECT_EQ(test::run("kill " + started.output).status, 0);
  }));
}

}  // namespace
}  // namespace podfence::kernel
