#pragma once
// Sends the first packets of many flows at once and tells which of them arrived, and whether their answers came back.
// Packets are written and read by raw sockets in every place, so any address, port and protocol costs the same.
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "tests/netns/packet.h"
#include "tests/netns/topology.h"

namespace podfence::test {

struct Probe {
  net::Flow flow;
  std::optional<Place> from;  // else the owner of the source address
  std::uint8_t tos = 0;
  std::uint32_t priority = 0;  // SO_PRIORITY of the sender
  std::size_t payload = 0;
  std::size_t fragment = 0;  // 0 = whole, else bytes of payload in each fragment
  bool expected = false;     // to arrive: those that are, are waited for
};

struct Outcome {
  std::optional<Place> arrived;  // where
  net::Port port;                // at which port there
  bool answered = false;         // a TCP reset or an echo reply came back to the sender
};

class Prober {
 public:
  explicit Prober(const Topology& topology);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  /// Every probe is a new flow, also the second time.
  std::vector<Outcome> run(std::span<const Probe> probes);
  Outcome run(const Probe& probe) { return run(std::span(&probe, 1)).front(); }

  /// A packet as it is, from a place. False when the kernel refuses to send it.
  bool send(Place from, const Bytes& packet, std::uint32_t priority = 0);

 private:
  struct Ear {
    int fd;
    Place place;
    net::Protocol protocol;
    net::Family family;
  };
  void listen_for(net::Protocol protocol, net::Family family);
  bool send_probe(const Probe& probe, std::uint32_t id);
  std::size_t drain(std::uint32_t first_id, std::span<const Probe> probes, std::vector<Outcome>& outcomes);

  const Topology& topology_;
  std::vector<Ear> ears_;
  std::map<std::pair<Place, net::Family>, int> mouths_;
  std::map<std::pair<net::Protocol, net::Family>, bool> heard_;
  std::uint32_t next_id_;
};

}  // namespace podfence::test
