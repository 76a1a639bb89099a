// What a sender writes into a packet besides the addresses must not open anything.
#include <gtest/gtest.h>

#include <map>

#include "tests/netns/sockets.h"
#include "tests/netns/stage.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

/// b admits a at TCP 80, and so does c: a and c are in one class, strangers in none.
std::vector<api::Object> b_admits_a() {
  return {policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).pods({{"app", "c"}}).port(80))};
}

/// The probe with every TOS byte and every priority that could be a class.
std::vector<Probe> with_every_mark(const program::Program& program, const Probe& probe) {
  std::vector<Probe> probes;
  for (unsigned tos = 0; tos <= 255; ++tos) {
    probes.push_back(probe);
    probes.back().tos = static_cast<std::uint8_t>(tos);
  }
  std::vector<std::uint32_t> priorities{1, 2, 6, 0xffff, 0xffffffff};
  for (const auto family : net::families) {
    for (const auto& element : program.at({program::Shape::peer_class, net::Direction::ingress, family})) {
      priorities.push_back(element.class_id);
    }
  }
  for (const auto priority : priorities) {
    probes.push_back(probe);
    probes.back().priority = priority;
  }
  return probes;
}

// A look-up that misses leaves the scratch register as it was: no TOS byte and no SO_PRIORITY may be taken for a class.
TEST(PacketFields, TosAndPriorityOpenNothingAndCloseNothing) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage(b_admits_a());
    for (const auto& [source, destination, allowed] :
         {std::tuple{stranger4, b4, false}, std::tuple{stranger6, b6, false}, std::tuple{c4, b4, true},
          std::tuple{a4, b4, true}, std::tuple{a6, b6, true}}) {
      const bool expected = allowed;
      auto probe = Stage::probe_of(source, destination, net::tcp, 80);
      probe.expected = expected;
      const auto probes = with_every_mark(stage.program(), probe);
      ASSERT_GT(probes.size(), 256U + 5U);
      const auto outcomes = stage.prober().run(probes);
      for (std::size_t i = 0; i < probes.size(); ++i) {
        EXPECT_EQ(outcomes[i].arrived.has_value(), expected)
            << source << " tos " << int{probes[i].tos} << " priority " << probes[i].priority;
      }
    }
  }));
}

// the fragments of a packet go where its first one goes, with conntrack's defragmentation.
TEST(PacketFields, X_10_FragmentsFollowTheFirst) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(80, net::udp))});
    for (const auto& [source, destination] : {std::pair{a4, b4}, std::pair{a6, b6}}) {
      for (const std::uint16_t port : {std::uint16_t{80}, std::uint16_t{81}}) {
        auto probe = Stage::probe_of(source, destination, net::udp, port);
        probe.payload = 2500;
        probe.fragment = 800;
        probe.expected = port == 80;
        EXPECT_EQ(stage.send(probe).arrived.has_value(), port == 80) << source << " " << port;
      }
    }
  }));
}

// fragments alone, without a first one that carries a port, are nothing that a rule with ports admits.
TEST(PacketFields, X_10_LaterFragmentsAloneDoNotPass) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(80, net::udp))});
    PacketSpec spec;
    spec.flow = flow(a4, b4, net::udp, 80);
    spec.source_port = net::Port{4000};
    spec.id = 4711;  // the kernel would choose one for each fragment
    spec.payload = 2500;
    const auto fragments = fragments_of(packet_of(spec), 800);
    FrameListener listener(stage.topology(), at_b, 0x0800);
    for (std::size_t i = 1; i < fragments.size(); ++i) EXPECT_TRUE(stage.prober().send(at_a, fragments[i]));
    EXPECT_FALSE(listener.hears());
    for (const auto& fragment : fragments) EXPECT_TRUE(stage.prober().send(at_a, fragment));
    EXPECT_TRUE(listener.hears(patient));
  }));
}

}  // namespace
}  // namespace podfence::test
