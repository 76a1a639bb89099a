#pragma once
// Allowed flows of the pods of namespaces that ask for it with the label podfence.io/observe: "true". The first packet
// of each is logged by a table behind the program's (enforcer/observe), to a group, a flow log and an account of their
// own, so that no number of allowed flows takes anything from the denied ones. Where nobody asks, there is nothing of
// it.
#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "enforcer/agent/flow_reader.h"
#include "enforcer/agent/status.h"
#include "enforcer/flow/pipeline.h"
#include "enforcer/observe/observe_table.h"
#include "policy/store/cluster.h"

namespace podfence::agent {

/// Addresses of the node's pods in namespaces with the label, sorted.
std::vector<net::IpAddr> observed_addresses(const store::Cluster& cluster, const std::string& node);

class Observer {
 public:
  using Clock = std::chrono::system_clock;

  /// `flows` is the denied flows' configuration: what is needed of it is changed here. The cluster must outlive this.
  Observer(boost::asio::io_context& io, flow::PipelineConfig flows, const program::ObserveOptions& options,
           const store::Cluster& cluster, std::chrono::seconds verify);

  void before_change(std::span<const store::Event> events) {
    if (pipeline_) pipeline_->before_change(events);
  }
  void after_commit(Clock::time_point since, Clock::time_point until);
  void set_interfaces(const std::map<std::uint32_t, flow::PodInterface>& interfaces) { interfaces_ = interfaces; }
  /// Once a second. Whether somebody else had changed the table, and it was mended.
  bool on_tick(Clock::time_point now);
  void stop(Clock::time_point now);

  ObservedFlows status() const;

 private:
  void open(Clock::time_point now);
  void write();
  std::optional<flow::CounterPackets> counters();
  std::string damage(const std::optional<flow::CounterPackets>& counters, Clock::time_point now);

  flow::PipelineConfig flows_;
  program::ObserveOptions options_;
  const store::Cluster& cluster_;
  boost::asio::io_context& io_;
  std::optional<observe::ObserveTable> table_;
  std::optional<flow::FlowPipeline> pipeline_;
  std::optional<FlowReader> reader_;
  std::map<std::uint32_t, flow::PodInterface> interfaces_;
  std::vector<net::IpAddr> observed_;
  bool written_ = false;         // the table holds observed_, unless somebody changed it
  std::chrono::seconds verify_;  // the table is read back that often
  Clock::time_point verified_{};
  std::uint64_t repairs_ = 0;
  std::string error_;
};

/// "DIR/flows.jsonl" -> "DIR/flows-allowed.jsonl"; "" when the log is no file.
std::string allowed_flow_log(const std::string& flow_log);

}  // namespace podfence::agent
