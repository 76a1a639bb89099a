#include "enforcer/flow/pipeline.h"

#include <net/if.h>

#include <array>
#include <utility>

#include "policy/base/json_writer.h"

namespace podfence::flow {
namespace {

constexpr std::chrono::seconds listen_pause{10};
constexpr std::size_t datagrams_at_once = 64;      // then others get their turn
constexpr std::size_t datagrams_in_a_tick = 8192;  // more than a full receive buffer holds
constexpr std::size_t lines_at_once = 1024;        // then they are written, so that many at a time need no queue

Ledger ledger_from(const Journal::Restored& restored) {
  Ledger ledger(restored.counters, restored.epoch, restored.accounted);
  if (restored.adopt) ledger.adopt_next_sample();
  return ledger;
}

std::string name_of_interface(std::uint32_t index) {
  std::array<char, IF_NAMESIZE> name{};
  return index != 0 && ::if_indextoname(index, name.data()) != nullptr ? std::string(name.data()) : std::string();
}

}  // namespace

std::string json_of(const PipelineStats& stats) {
  std::string text;
  JsonWriter json(text);
  std::uint64_t lost = 0;
  for (const auto& [stage, packets] : stats.lost) lost += packets;
  json.begin_object().field("denied", stats.dropped).field("received", stats.received);
  json.field("records", stats.records).field("recorded", stats.recorded).field("lost", lost);
  json.key("lost_by_stage").begin_object();
  for (const auto& [stage, packets] : stats.lost) json.field(stage, packets);
  json.end_object();
  json.field("foreign", stats.foreign).field("malformed", stats.malformed).field("open_flows", stats.open_flows);
  json.field("waiting_lines", stats.waiting_lines).field("lines_written", stats.lines_written);
  if (!stats.listen_error.empty()) json.field("listen_error", stats.listen_error);
  if (!stats.write_error.empty()) json.field("write_error", stats.write_error);
  json.end_object();
  return text;
}

FlowPipeline::FlowPipeline(PipelineConfig config, const store::Cluster& cluster, TimePoint now)
    : config_(std::move(config)),
      writer_(config_.node, config_.cluster, config_.instance),
      journal_({config_.flow_log,
                config_.state_dir + (config_.allowed ? "/allowed-flow-account.json" : "/flow-account.json"),
                config_.rotate}),
      ledger_(ledger_from(journal_.restored())),
      enricher_(cluster, config_.node, config_.labels),
      aggregator_({.most_entries = config_.most_entries, .window = config_.window}),
      detector_({}, now),
      epoch_(config_.table),
      losses_since_(now) {
  if (epoch_.absent()) enricher_.begin_with_nothing();
  listen(now);
  report({now, "start", config_.version, {}, {}});
  // What was denied since it was written is in no record and in no stated loss.
  if (const auto& ignored = journal_.restored().ignored; !ignored.empty()) {
    report({now, "account_ignored", ignored, {}, {}});
  }
  // Packets that the last run handed to a pipe when it was killed: they may have been read or not.
  if (const auto unsure = journal_.restored().unconfirmed; unsure > 0)
    note_loss(std::string(journal_.stage()), unsure, false);
  journal_.save(ledger_);
}

void FlowPipeline::listen(TimePoint now) {
  if (socket_ || (now < next_listen_ && next_listen_ - now <= listen_pause)) return;
  next_listen_ = now + listen_pause;
  auto opened = NflogSocket::open(config_.nflog);
  if (!opened) {
    stats_.listen_error = opened.error().what();
    return;
  }
  stats_.listen_error.clear();
  socket_.emplace(std::move(*opened));
}

/// Whether nothing was left in the socket.
bool FlowPipeline::read(std::size_t most_datagrams, TimePoint now) {
  if (!socket_) return true;
  const auto reading =
      socket_->read(most_datagrams, [&](const LoggedPacket& packet, std::uint32_t gap) { take(packet, gap, now); });
  stats_.malformed += reading.malformed;
  if (!reading.error.empty()) {
    stats_.listen_error = reading.error;
    detector_.tampered("the kernel's log messages cannot be read: " + reading.error, "", now);
    socket_.reset();
    next_listen_ = now + listen_pause;  // the caller sees fd() == -1 before it sees another socket
    return true;
  }
  return reading.drained;
}

void FlowPipeline::take(LoggedPacket packet, std::uint32_t gap, TimePoint now) {
  const bool ours = packet.prefix.why != Why::unattributed && (packet.prefix.why == Why::allowed) == config_.allowed;
  if (!ours) packet.prefix = {};
  ledger_.received(ours, gap);
  ++(ours ? stats_.received : stats_.foreign);
  FlowEntry entry = entry_of(packet, now);
  entry.key.version = enricher_.version(entry);
  if (const auto oldest = aggregator_.add(entry, now)) emit(*oldest, now);
}

void FlowPipeline::emit(const FlowEntry& entry, TimePoint now) {
  FlowRecord record = enricher_.describe(entry);
  if (record.interface.empty()) record.interface = name_of_interface(entry.key.interface);
  const bool counted = record.verdict != Verdict::error;
  ++stats_.records;
  ++stats_.attributed.at(static_cast<std::size_t>(record.attribution));
  ++stats_.judged[{record.verdict, record.direction}];
  stats_.recorded += counted ? record.count : 0;
  journal_.push({writer_.line(record, ++sequence_, now), {counted ? record.count : 0, 0}, {}, record.time});
  if (!config_.allowed) detector_.take(record, sequence_, now);
  if (journal_.waiting() % lines_at_once == 0) flush(now);
}

void FlowPipeline::emit_detections(TimePoint now) {
  if (config_.allowed) return;
  std::uint64_t lost = 0;
  for (const auto& [stage, packets] : stats_.lost) lost += packets;
  detector_.account(ledger_.dropped(), lost, now);
  for (const auto& found : detector_.take_new()) {
    ++stats_.detections[{found.detection, found.severity}];
    journal_.push({writer_.line(found, ++sequence_), {}, {}});
  }
}

void FlowPipeline::report(const AgentRecord& record) {
  journal_.push({writer_.line(record, ++sequence_), {}, {}});
}

void FlowPipeline::note_loss(const std::string& stage, std::uint64_t lost, bool exact) {
  if (lost == 0) return;
  OpenLoss& loss = losses_[stage + (exact ? "" : "?")];
  loss.lost += lost;
  loss.exact = exact;
  stats_.lost[stage] += lost;
}

/// Records that no room was left for become losses of the sink; losses stay what they were, for the next window.
void FlowPipeline::note_dropped() {
  for (const OutLine& line : journal_.take_dropped()) {
    const std::uint64_t packets = line.account.logged + line.account.limited;
    if (line.stage.empty()) {
      note_loss(std::string(journal_.stage()), packets, true);
    } else if (packets > 0) {
      losses_[line.stage].lost += packets;
    }
  }
}

void FlowPipeline::emit_losses(TimePoint now) {
  for (const auto& [key, loss] : losses_) {
    const std::string stage = loss.exact ? key : key.substr(0, key.size() - 1);
    LossRecord record{losses_since_, now, stage, loss.lost, loss.exact, {}};
    if (stage == stage_gap || stage == stage_tail) record.group = config_.nflog.group;
    Accounted account;
    if (loss.exact) (stage == stage_limit ? account.limited : account.logged) = loss.lost;
    journal_.push({writer_.line(record, ++sequence_), account, stage});
  }
  losses_.clear();
  losses_since_ = now;
}

void FlowPipeline::on_readable(TimePoint now) {
  enricher_.notice(now);
  read(datagrams_at_once, now);
  note_dropped();
}

void FlowPipeline::settle(TimePoint now, const std::optional<CounterPackets>& counters) {
  if (counters) ledger_.sample({epoch_.read(), *counters}, now);
  const bool drained = read(datagrams_in_a_tick, now);
  if (!counters) return;
  for (const Loss& loss : ledger_.settle(now, drained)) note_loss(std::string(loss.stage), loss.lost, true);
}

void FlowPipeline::on_tick(TimePoint now, const std::optional<CounterPackets>& counters) {
  enricher_.notice(now);
  listen(now);
  settle(now, counters);
  for (const FlowEntry& entry : aggregator_.take_due(now)) emit(entry, now);
  emit_detections(now);
  enricher_.forget(now);
  if (now - losses_since_ >= config_.window || now < losses_since_) emit_losses(now);
  flush(now);
  note_dropped();
}

void FlowPipeline::flush(TimePoint now) {
  const auto written = journal_.lines_written();
  journal_.flush(ledger_, now);
  if (journal_.lines_written() != written) stats_.last_written = now;
}

PipelineStats FlowPipeline::stats() const {
  PipelineStats stats = stats_;
  stats.dropped = ledger_.dropped();
  stats.open_flows = aggregator_.size();
  stats.waiting_lines = journal_.waiting();
  stats.lines_written = journal_.lines_written();
  stats.write_error = journal_.error();
  stats.delays = journal_.delays();
  for (const auto& [name, counter] : ledger_.counters()) stats.counters.emplace(name, counter.total);
  stats.sink = journal_.stage().substr(journal_.stage().find(':') + 1);
  return stats;
}

void FlowPipeline::stop(TimePoint now, const std::optional<CounterPackets>& counters) {
  settle(now, counters);
  socket_.reset();
  for (const FlowEntry& entry : aggregator_.take_all()) emit(entry, now);
  emit_detections(now);
  note_dropped();
  emit_losses(now);
  report({now, "stop", {}, {}, {}});
  journal_.flush(ledger_, now);
  note_dropped();
  journal_.save(ledger_);
}

}  // namespace podfence::flow
