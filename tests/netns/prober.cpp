#include "tests/netns/prober.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <stdexcept>

namespace podfence::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int receive_buffer = 8 * 1024 * 1024;
constexpr std::size_t drain_every = 128;
constexpr std::chrono::milliseconds quiet{30};       // nothing came for so long: what is on its way was dropped
constexpr std::chrono::milliseconds patience{3000};  // for what is expected
constexpr std::chrono::milliseconds again_after{300};

int raw_socket(net::Family family, int protocol, int flags) {
  const int domain = family == net::Family::ipv4 ? AF_INET : AF_INET6;
  const int fd = ::socket(domain, SOCK_RAW | SOCK_CLOEXEC | flags, protocol);
  if (fd < 0) throw std::runtime_error(std::string("raw socket: ") + std::strerror(errno));
  return fd;
}

}  // namespace

Prober::Prober(const Topology& topology) : topology_(topology), next_id_(std::random_device{}()) {
  for (Place place = 0; place < topology_.places(); ++place) {
    topology_.enter(place);
    for (const auto family : net::families) {
      const int fd = raw_socket(family, IPPROTO_RAW, 0);
      ::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &receive_buffer, sizeof(receive_buffer));
      mouths_[{place, family}] = fd;
    }
  }
  topology_.back_to_node();
}

Prober::~Prober() {
  for (const auto& ear : ears_) ::close(ear.fd);
  for (const auto& [key, fd] : mouths_) ::close(fd);
}

void Prober::listen_for(net::Protocol protocol, net::Family family) {
  if (std::exchange(heard_[{protocol, family}], true)) return;
  for (Place place = 0; place < topology_.places(); ++place) {
    topology_.enter(place);
    const int fd = raw_socket(family, protocol.number, SOCK_NONBLOCK);
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(receive_buffer));
    ears_.push_back({fd, place, protocol, family});
  }
  topology_.back_to_node();
}

bool Prober::send(Place from, const Bytes& packet, std::uint32_t priority) {
  const bool v4 = packet[0] >> 4U == 4;
  const int fd = mouths_.at({from, v4 ? net::Family::ipv4 : net::Family::ipv6});
  ::setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
  sockaddr_in to4{};
  to4.sin_family = AF_INET;
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  if (v4) std::memcpy(&to4.sin_addr, &packet[16], 4);
  if (!v4) std::memcpy(&to6.sin6_addr, &packet[24], 16);
  const void* to = v4 ? static_cast<const void*>(&to4) : static_cast<const void*>(&to6);
  const socklen_t length = v4 ? sizeof(to4) : sizeof(to6);
  const auto sent = ::sendto(fd, packet.data(), packet.size(), 0, static_cast<const sockaddr*>(to), length);
  return sent == static_cast<ssize_t>(packet.size());
}

bool Prober::send_probe(const Probe& probe, std::uint32_t id) {
  PacketSpec spec;
  spec.flow = probe.flow;
  spec.source_port = net::Port{static_cast<std::uint16_t>(1024 + id % 64000)};
  spec.id = id;
  spec.tos = probe.tos;
  spec.payload = probe.payload;
  const auto packet = packet_of(spec);
  const Place from = probe.from.value_or(topology_.place_of(probe.flow.source));
  if (probe.fragment == 0) return send(from, packet, probe.priority);
  for (const auto& fragment : fragments_of(packet, probe.fragment)) {
    if (!send(from, fragment, probe.priority)) return false;
  }
  return true;
}

/// How many packets of ours came in.
std::size_t Prober::drain(std::uint32_t first_id, std::span<const Probe> probes, std::vector<Outcome>& outcomes) {
  std::size_t count = 0;
  std::array<std::uint8_t, 65536> buffer{};
  for (const auto& ear : ears_) {
    for (;;) {
      const auto size = ::recv(ear.fd, buffer.data(), buffer.size(), 0);
      if (size <= 0) break;
      auto segment = std::span<const std::uint8_t>(buffer).first(static_cast<std::size_t>(size));
      if (ear.family == net::Family::ipv4) {
        segment = segment.subspan(std::min<std::size_t>(segment.size(), std::size_t{4} * (segment[0] & 0x0fU)));
      }
      const auto received = parse_segment(ear.protocol, segment);
      if (!received) continue;
      const std::uint32_t index = received->id - first_id;
      if (index >= probes.size() || probes[index].flow.protocol != ear.protocol) continue;
      ++count;
      auto& outcome = outcomes[index];
      if (received->is_answer) {
        outcome.answered = true;
      } else {
        outcome.arrived = ear.place;
        outcome.port = received->destination_port;
      }
    }
  }
  return count;
}

std::vector<Outcome> Prober::run(std::span<const Probe> probes) {
  for (const auto& probe : probes) listen_for(probe.flow.protocol, probe.flow.source.family());
  if (next_id_ == 0 || next_id_ + probes.size() < next_id_) next_id_ = 1;  // ids of one run do not wrap
  const std::uint32_t first_id = next_id_;
  next_id_ += static_cast<std::uint32_t>(probes.size());
  std::vector<Outcome> outcomes(probes.size());
  for (std::size_t i = 0; i < probes.size(); ++i) {
    send_probe(probes[i], first_id + static_cast<std::uint32_t>(i));
    if (i % drain_every == drain_every - 1) drain(first_id, probes, outcomes);
  }
  const auto missing = [&] {
    std::vector<std::size_t> indexes;
    for (std::size_t i = 0; i < probes.size(); ++i) {
      const bool heard = outcomes[i].arrived && (outcomes[i].answered || !is_answered(probes[i].flow.protocol));
      if (probes[i].expected && !heard) indexes.push_back(i);
    }
    return indexes;
  };
  const auto end = Clock::now() + patience;
  auto last = Clock::now();
  auto again = Clock::now() + again_after;
  while (Clock::now() - last < quiet || (!missing().empty() && Clock::now() < end)) {
    if (drain(first_id, probes, outcomes) > 0) last = Clock::now();
    // A machine under load drops packets, too; whoever expects an answer asks again.
    if (Clock::now() > again) {
      for (const auto i : missing()) send_probe(probes[i], first_id + static_cast<std::uint32_t>(i));
      again += again_after;
    }
    std::vector<pollfd> waits;
    for (const auto& ear : ears_) waits.push_back({ear.fd, POLLIN, 0});
    ::poll(waits.data(), waits.size(), static_cast<int>(quiet.count()));
  }
  return outcomes;
}

}  // namespace podfence::test
