#pragma once
// From the kernel's log to the flow log: socket -> decode -> aggregate -> enrich -> record -> journal, with the account
// beside it. The agent waits on fd(), calls on_readable() when it is readable and on_tick() once a second with the
// counters that it has just read, and tells of every change of the cluster. All on one thread; clocks are arguments.
// Nothing here fails for good: what does not work is tried again, shows in stats(), and is stated as loss.
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "enforcer/flow/aggregate.h"
#include "enforcer/flow/detect.h"
#include "enforcer/flow/enrich.h"
#include "enforcer/flow/journal.h"
#include "enforcer/flow/ledger.h"
#include "enforcer/flow/nflog_socket.h"
#include "enforcer/flow/record.h"
#include "enforcer/flow/table_epoch.h"

namespace podfence::flow {

struct PipelineConfig {
  std::string node;
  std::string cluster;   // may be empty
  std::string instance;  // differs with every start of the agent
  std::string version;   // of the agent, for its start record
  std::string table = "podfence";
  std::string flow_log;  // a path, "-" = standard output, "" = nowhere
  std::string state_dir;
  std::vector<std::string> labels = {};  // keys of those that records hold, sorted
  bool allowed = false;  // allowed flows, with a log and an account of their own; nothing is detected in them
  NflogSettings nflog;
  RotateLimits rotate;
  std::size_t most_entries = 65'536;
  std::chrono::milliseconds window{5000};  // the first of aggregation, and that of loss records
};

struct PipelineStats {
  std::uint64_t dropped = 0;    // packets, by the kernel's counters
  std::uint64_t received = 0;   // packets, by log messages of our rules
  std::uint64_t foreign = 0;    // log messages of rules that are not ours
  std::uint64_t malformed = 0;  // log messages that could not be read
  std::uint64_t records = 0;    // flow records made
  std::uint64_t recorded = 0;   // packets in them
  std::map<std::pair<std::string, Severity>, std::uint64_t> detections;
  std::map<std::string, std::uint64_t> lost;  // packets, by stage, since this start
  std::size_t open_flows = 0;                 // waiting for their window to end
  std::size_t waiting_lines = 0;              // not yet written
  std::uint64_t lines_written = 0;
  std::map<std::string, std::uint64_t> counters;  // packets of each kernel counter since the account began
  std::array<std::uint64_t, 3> attributed{};      // flow records, by Attribution
  std::map<std::pair<Verdict, net::Direction>, std::uint64_t> judged;  // flow records
  std::string sink;                                                    // "file", "stdout", "none"
  DurationHistogram delays = flow_delays();  // of flow records, from the first packet to the line
  std::optional<TimePoint> last_written;     // when the sink took a line last
  std::string listen_error;                  // why there are no log messages; empty when all is well
  std::string write_error;                   // why lines are not written
};

/// For `podfence status`.
std::string json_of(const PipelineStats& stats);

/// Counters by name, as read from the table.
using CounterPackets = std::map<std::string, std::uint64_t>;

class FlowPipeline {
 public:
  /// The cluster must outlive the pipeline.
  FlowPipeline(PipelineConfig config, const store::Cluster& cluster, TimePoint now);

  /// -1 while the group cannot be listened to. May change in on_tick() and on_readable().
  int fd() const { return socket_ ? socket_->fd() : -1; }

  void on_readable(TimePoint now);
  /// `counters`: read just before, nothing when they could not be read.
  void on_tick(TimePoint now, const std::optional<CounterPackets>& counters);

  /// Before the cluster takes the events; see enrich.h.
  void before_change(std::span<const store::Event> events) { enricher_.before(events); }
  /// After every successful commit (the first one too, and when it had nothing to write).
  void after_commit(TimePoint begin, TimePoint end) { enricher_.after(begin, end); }
  void set_interfaces(const std::map<std::uint32_t, PodInterface>& interfaces, TimePoint now) {
    enricher_.set_interfaces(interfaces, now);
  }

  /// Somebody else changed something of ours: a detection.
  void tampered(std::string what, std::string by, TimePoint now) {
    detector_.tampered(std::move(what), std::move(by), now);
  }
  /// A record of something that the agent did.
  void report(const AgentRecord& record);
  /// The flow log was moved away by somebody else.
  void reopen() { journal_.reopen(); }

  PipelineStats stats() const;

  /// Writes out everything that it holds. The pipeline takes no more calls but stats().
  void stop(TimePoint now, const std::optional<CounterPackets>& counters);

 private:
  void listen(TimePoint now);
  bool read(std::size_t most_datagrams, TimePoint now);
  void take(LoggedPacket packet, std::uint32_t gap, TimePoint now);
  void emit(const FlowEntry& entry, TimePoint now);
  void flush(TimePoint now);
  void settle(TimePoint now, const std::optional<CounterPackets>& counters);
  void note_loss(const std::string& stage, std::uint64_t lost, bool exact);
  void note_dropped();
  void emit_losses(TimePoint now);
  void emit_detections(TimePoint now);

  struct OpenLoss {
    std::uint64_t lost = 0;
    bool exact = true;
  };

  PipelineConfig config_;
  RecordWriter writer_;
  Journal journal_;
  Ledger ledger_;
  Enricher enricher_;
  Aggregator aggregator_;
  Detector detector_;
  TableEpoch epoch_;
  std::optional<NflogSocket> socket_;
  TimePoint next_listen_{};
  std::map<std::string, OpenLoss> losses_;  // by stage, until their window ends
  TimePoint losses_since_;
  std::uint64_t sequence_ = 0;
  PipelineStats stats_;
};

}  // namespace podfence::flow
