#pragma once
// Denied packets in a network namespace: the deny chain of the product on the output hook, a sender, the counters.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/flow/pipeline.h"
#include "tests/enforcer/flow/files.h"

namespace podfence::flow::test {

struct Rates {
  unsigned source = 1'000'000;
  unsigned node = 1'000'000;
  unsigned meter_size = 4096;
};

/// Loads (or makes anew) table inet podfence: UDP to ports from 10000 on meets the deny chain.
void load_table(const Rates& rates = {});

/// Sends `count` datagrams from 127.0.0.SOURCE to that many ports, one after the other from 10000 on.
void send_denied(int count, int ports = 10, int source = 1);

/// Sends one datagram each to `count` different ends: a record each, whatever is merged.
void send_to_many(int count);

CounterPackets counters();
std::uint64_t denied(const CounterPackets& packets);

/// A pipeline with a clock of its own: a tick takes 250 ms and tells it that a second went by.
class Reader {
 public:
  Reader(const Directory& directory, const NflogSettings& nflog = {}, const std::string& log = "flows.jsonl",
         std::chrono::milliseconds window = std::chrono::seconds(5));

  FlowPipeline& pipeline() { return pipeline_; }
  /// The cluster changes, and the kernel with it.
  void change(std::vector<api::Object> objects);
  void tick();
  void ticks(int count);
  /// Ticks until nothing that was counted can still be on its way, and writes everything out.
  void finish();

 private:
  TimePoint now_;
  store::Cluster cluster_;
  FlowPipeline pipeline_;
};

}  // namespace podfence::flow::test
