#pragma once
// One node with its pods and the rest of the world, in network namespaces of this process: the namespace that the
// thread is in becomes the node's, each pod has one behind a veth pair, and `outside` behind the uplink answers for
// every other address. Neighbours are permanent, so that the first packet of a flow is the flow's.
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "policy/net/ip.h"
#include "tests/netns/rtnl.h"

namespace podfence::test {

/// A network namespace, closed with the object.
class Netns {
 public:
  /// The one that the thread is in.
  static Netns current();
  /// A new one; the thread stays where it is.
  static Netns create();
  Netns(Netns&& other) noexcept;
  Netns& operator=(Netns&& other) noexcept;
  ~Netns();

  int fd() const { return fd_; }
  /// Moves the thread.
  void enter() const;

 private:
  explicit Netns(int fd) : fd_(fd) {}
  int fd_;
};

enum class Attachment { routed, bridged };

struct TopologySpec {
  std::vector<net::IpAddr> node;               // the node's own addresses
  std::vector<std::vector<net::IpAddr>> pods;  // addresses of each local pod
  Attachment attachment = Attachment::routed;
  bool bridge_calls_iptables = true;
};

/// Where a packet can come from and go to.
using Place = std::size_t;
inline constexpr Place at_node = 0;
inline constexpr Place at_outside = 1;
inline constexpr Place at_first_pod = 2;

class Topology {
 public:
  explicit Topology(const TopologySpec& spec);

  std::size_t places() const { return spaces_.size(); }
  const Netns& space(Place place) const { return spaces_[place]; }
  /// Moves the thread there; the tests come back to the node.
  void enter(Place place) const { spaces_[place].enter(); }
  void back_to_node() const { spaces_[at_node].enter(); }

  /// The place that owns an address: what is neither the node's nor a pod's is outside.
  Place place_of(const net::IpAddr& ip) const;

  /// "veth0" of the first pod; "up0" of the outside.
  static std::string host_interface(Place place);
  static Mac host_mac(Place place);
  static Mac inner_mac(Place place);
  static const net::IpAddr& gateway(net::Family family);

 private:
  void prepare_node(const TopologySpec& spec);
  void attach(Place place, const TopologySpec& spec, std::span<const net::IpAddr> addresses);
  void set_up_inside(Place place, std::span<const net::IpAddr> addresses, Attachment attachment);
  void attach_outside(const TopologySpec& spec);
  void set_up_outside();
  void link_bridged_pods();
  void wait_until_ready();

  std::vector<Netns> spaces_;
  Rtnl node_;
  std::map<net::IpAddr, Place> owners_;
};

}  // namespace podfence::test
