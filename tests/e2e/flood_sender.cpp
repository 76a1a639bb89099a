// podfence_flood_sender DEVICE GATEWAY_MAC DESTINATION SECONDS [WAY [SENDERS]]: UDP over IPv4, as fast as the device
// takes it. Ends early on SIGTERM, and prints how many packets it sent and in how many microseconds.
//
//   WAY      from                                 to
//   random   any address of 11.0.0.0/8            any port: nothing is like anything before
//   spread   the same                             any port, of any address that differs in the last byte
//   scan     192.0.2.7                            each port once, from 1 on
//
// Random ones come from a sender on each processor, unless it is said how many: a veth pair forwards a packet, and
// denies it, on the processor that sent it. Of spread ones there are 10,000 a second: they are to give the agent work,
// for which it needs a processor.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t batch = 128;
constexpr std::size_t spread_rate = 10'000;  // packets a second
std::atomic<bool> ended = false;             // lock-free: a signal may set it

struct [[gnu::packed]] Frame {
  std::array<std::uint8_t, 6> to;
  std::array<std::uint8_t, 6> from;
  std::uint16_t type;
  iphdr ip;
  udphdr udp;
  std::array<char, 18> payload;  // the least that a frame holds
};
static_assert(sizeof(Frame) == 60);

std::uint16_t checksum(const iphdr& header) {
  std::array<std::uint16_t, sizeof(iphdr) / 2> words{};
  std::memcpy(words.data(), &header, sizeof(header));
  std::uint32_t sum = 0;
  for (const auto word : words) sum += word;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

Frame first_frame(const char* gateway, const char* destination) {
  Frame frame{};
  std::array<unsigned, 6> mac{};
  if (std::sscanf(gateway, "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
    std::exit(2);
  for (std::size_t i = 0; i < mac.size(); ++i) frame.to.at(i) = static_cast<std::uint8_t>(mac.at(i));
  frame.from = {2, 0, 0, 0, 0, 1};
  frame.type = htons(ETHERTYPE_IP);
  frame.ip.version = 4;
  frame.ip.ihl = 5;
  frame.ip.ttl = 64;
  frame.ip.protocol = IPPROTO_UDP;
  frame.ip.tot_len = htons(sizeof(Frame) - 14);
  in_addr to{};
  if (::inet_pton(AF_INET, destination, &to) != 1) std::exit(2);
  frame.ip.daddr = to.s_addr;
  frame.udp.len = htons(sizeof(Frame) - 34);
  return frame;
}

void vary(Frame& frame, std::string_view way, std::mt19937_64& random, std::uint64_t number) {
  const std::uint64_t bits = random();
  std::uint32_t source = 0xc0000207U;
  std::uint64_t port = number % 65'535 + 1;
  if (way == "random" || way == "spread") {
    source = 0x0b000000U | (bits & 0xffffffU);
    port = 1 + (bits >> 24U) % 65'535;
  }
  frame.ip.saddr = htonl(source);
  if (way == "spread") {
    frame.ip.daddr = htonl((ntohl(frame.ip.daddr) & ~0xffU) | static_cast<std::uint32_t>(2 + (bits >> 40U) % 250));
  }
  frame.udp.source = htons(static_cast<std::uint16_t>(1024 + (bits >> 48U) % 60'000));
  frame.udp.dest = htons(static_cast<std::uint16_t>(port));
  frame.ip.check = 0;
  frame.ip.check = checksum(frame.ip);
}

int open_on(const char* device) {
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_ifindex = static_cast<int>(::if_nametoindex(device));
  const int yes = 1;
  ::setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
  if (::bind(fd, static_cast<const sockaddr*>(static_cast<const void*>(&at)), sizeof(at)) == 0) return fd;
  std::perror(device);
  std::exit(2);
}

void stay_on(unsigned processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  ::sched_setaffinity(0, sizeof(set), &set);  // if it is not ours to use, anywhere is as good
}

/// Sends until it is time; answers how many.
std::uint64_t flood(int fd, const Frame& like, std::string_view way, std::uint64_t seed,
                    std::chrono::steady_clock::time_point until) {
  std::array<Frame, batch> frames{};
  std::array<iovec, batch> parts{};
  std::array<mmsghdr, batch> messages{};
  frames.fill(like);
  for (std::size_t i = 0; i < batch; ++i) {
    parts.at(i) = {&frames.at(i), sizeof(Frame)};
    messages.at(i).msg_hdr.msg_iov = &parts.at(i);
    messages.at(i).msg_hdr.msg_iovlen = 1;
  }
  const std::chrono::microseconds pause(way == "spread" ? 1'000'000 * batch / spread_rate : 0);
  auto next = std::chrono::steady_clock::now();
  std::mt19937_64 random(seed);
  std::uint64_t number = 0;
  std::uint64_t sent = 0;
  while (!ended && std::chrono::steady_clock::now() < until) {
    for (Frame& frame : frames) vary(frame, way, random, number++);
    const int done = ::sendmmsg(fd, messages.data(), batch, 0);
    if (done > 0) sent += static_cast<std::uint64_t>(done);
    next += pause;
    if (pause.count() > 0) std::this_thread::sleep_until(next);
  }
  return sent;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string_view way = argc > 5 ? argv[5] : "random";
  const unsigned processors = std::max(1U, std::thread::hardware_concurrency());
  unsigned senders = argc > 6 ? static_cast<unsigned>(std::atoi(argv[6])) : processors;
  if (way != "random" || senders == 0) senders = 1;
  ::signal(SIGTERM, [](int) { ended = true; });
  const Frame like = first_frame(argv[2], argv[3]);
  const auto begin = std::chrono::steady_clock::now();
  const auto until = begin + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                 std::chrono::duration<double>(std::atof(argv[4])));
  std::atomic<std::uint64_t> sent = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < senders; ++i) {
    threads.emplace_back([&, i, fd = open_on(argv[1])] {
      if (senders > 1) stay_on(i % processors);
      sent += flood(fd, like, way, i + 1, until);
    });
  }
  for (auto& thread : threads) thread.join();
  const auto took = std::chrono::steady_clock::now() - begin;
  std::printf("%llu %lld\n", static_cast<unsigned long long>(sent.load()),
              static_cast<long long>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  return 0;
}
