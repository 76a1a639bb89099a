#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/enforcer/flow/flood.h"

#include <array>
#include <sstream>
#include <thread>

#include "tests/support/builders.h"
#include "tests/support/netns.h"

namespace podfence::flow::test {
namespace {

PipelineConfig config_for(const Directory& directory, const NflogSettings& nflog, const std::string& log,
                          std::chrono::milliseconds window) {
  PipelineConfig config;
  config.node = "n1";
  config.instance = std::to_string(::getpid());
  config.flow_log = log == "-" ? log : directory.file(log);
  config.state_dir = directory.file("state");
  config.nflog = nflog;
  config.window = window;
  return config;
}

const sockaddr* as_sockaddr(const sockaddr_in* address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(address));
}

}  // namespace

void load_table(const Rates& rates) {
  std::ostringstream nft;
  nft << "add table inet podfence\ndelete table inet podfence\n"
      << "table inet podfence {\n";
  for (const char* name : {"denied_in", "denied_out", "unknown_in", "unknown_out", "over_source", "over_node"}) {
    nft << " counter " << name << " { }\n";
  }
  nft << " set sources_in4 { type ipv4_addr; size " << rates.meter_size << "; flags dynamic,timeout; timeout 1m; }\n"
      << " chain denied_in4 {\n"
      << "  counter name denied_in\n"
      << "  add @sources_in4 { ip saddr timeout 1m limit rate over " << rates.source << "/second burst "
      << rates.source * 2 << " packets } counter name over_source drop\n"
      << "  limit rate over " << rates.node << "/second burst " << rates.node * 2
      << " packets counter name over_node drop\n"
      << "  log prefix \"pf1:in:policy\" group 4021 snaplen 128\n"
      << "  drop\n }\n"
      << " chain output { type filter hook output priority 0; udp dport 10000-65535 goto denied_in4; }\n}\n";
  const auto loaded = podfence::test::run_with_input("nft -f -", nft.str());
  ASSERT_EQ(loaded.status, 0) << loaded.output;
}

void send_denied(int count, int ports, int source) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(0x7f000000U + static_cast<unsigned>(source));
  ASSERT_EQ(::bind(fd, as_sockaddr(&from), sizeof(from)), 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < count; ++i) {
    to.sin_port = htons(static_cast<std::uint16_t>(10'000 + i % ports));
    std::ignore = ::sendto(fd, "x", 1, 0, as_sockaddr(&to), sizeof(to));  // EPERM: dropped, as it should be
  }
  ::close(fd);
}

void send_to_many(int count) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(10'000);
  for (int i = 0; i < count; ++i) {
    to.sin_addr.s_addr = htonl(0x7f010000U + static_cast<unsigned>(i));
    std::ignore = ::sendto(fd, "x", 1, 0, as_sockaddr(&to), sizeof(to));
  }
  ::close(fd);
}

CounterPackets counters() {
  const auto listed = podfence::test::run("nft list counters table inet podfence");
  EXPECT_EQ(listed.status, 0) << listed.output;
  CounterPackets packets;
  std::istringstream words(listed.output);
  std::string name;
  for (std::string word; words >> word;) {
    if (word == "counter") words >> name;
    if (word == "packets") words >> packets[name];
  }
  return packets;
}

std::uint64_t denied(const CounterPackets& packets) {
  return packets.at("denied_in") + packets.at("denied_out") + packets.at("unknown_in") + packets.at("unknown_out");
}

Reader::Reader(const Directory& directory, const NflogSettings& nflog, const std::string& log,
               std::chrono::milliseconds window)
    : now_(std::chrono::system_clock::now()), pipeline_(config_for(directory, nflog, log, window), cluster_, now_) {
  pipeline_.after_commit(now_, now_);
}

void Reader::change(std::vector<api::Object> objects) {
  now_ += std::chrono::milliseconds(100);
  auto events = podfence::test::events_of(std::move(objects));
  pipeline_.before_change(events);
  for (auto& event : events) cluster_.apply(std::move(event));
  pipeline_.after_commit(now_, now_);
  now_ += std::chrono::milliseconds(100);
}

void Reader::tick() {
  std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the kernel flushes after 100
  now_ += std::chrono::seconds(1);
  pipeline_.on_tick(now_, counters());
}

void Reader::ticks(int count) {
  while (count-- > 0) tick();
}

void Reader::finish() {
  ticks(3);
  pipeline_.stop(now_, counters());
}

}  // namespace podfence::flow::test
