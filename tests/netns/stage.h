#pragma once
// A small cluster on the wire, for tests of one behaviour each:
//   node n1: pods a, b (routed or bridged); elsewhere: pod c on node n2, the hosts `stranger`.
//   Stage stage({policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(80))});
//   EXPECT_TRUE(stage.passes(a4, b4, net::tcp, 80));
// All pods are in namespace "default" with the label app = their name. Make it inside in_new_netns.
#include <memory>
#include <string_view>
#include <vector>

#include "policy/program/program.h"
#include "policy/store/cluster.h"
#include "tests/netns/judged.h"
#include "tests/netns/prober.h"
#include "tests/support/builders.h"

namespace podfence::test {

inline constexpr std::string_view n1_4 = "192.0.2.1";
inline constexpr std::string_view n1_6 = "fd00:c0::1";
inline constexpr std::string_view n2_4 = "192.0.2.2";
inline constexpr std::string_view n2_6 = "fd00:c0::2";
inline constexpr std::string_view a4 = "10.0.1.1";
inline constexpr std::string_view a6 = "fd00:1::1";
inline constexpr std::string_view b4 = "10.0.1.2";
inline constexpr std::string_view b6 = "fd00:1::2";
inline constexpr std::string_view c4 = "10.0.2.1";
inline constexpr std::string_view c6 = "fd00:2::1";
inline constexpr std::string_view stranger4 = "203.0.113.7";
inline constexpr std::string_view stranger6 = "2001:db8::7";

inline constexpr Place at_a = at_first_pod;
inline constexpr Place at_b = at_first_pod + 1;

class Stage {
 public:
  explicit Stage(std::vector<api::Object> policies = {}, Attachment attachment = Attachment::routed);

  /// Adds or replaces objects; the kernel follows by the smallest change.
  void apply(std::vector<api::Object> objects);
  void remove(const api::Object& object);
  const program::Program& program() const { return program_; }
  const store::Cluster& cluster() const { return cluster_; }
  const Topology& topology() const { return topology_; }
  Prober& prober() { return prober_; }

  /// Whether the first packet of a new flow arrives where its address lives, and its answer comes back.
  bool passes(std::string_view source, std::string_view destination, net::Protocol protocol, std::uint16_t port = 0);
  /// The same with other fields of the probe set: what arrived where.
  Outcome send(const Probe& probe) { return prober_.run(probe); }
  static Probe probe_of(std::string_view source, std::string_view destination, net::Protocol protocol,
                        std::uint16_t port = 0);

 private:
  void follow();

  store::Cluster cluster_;
  program::Program program_;
  Topology topology_;
  Prober prober_;
};

/// A policy that isolates the pod in both directions and admits nothing.
api::Object deny_all(std::string name, const Pairs& selected);

/// Loads text into nftables of the node, beside our table. Throws what nft complains about.
void add_foreign_rules(const std::string& text);

}  // namespace podfence::test
