#include "enforcer/agent/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <vector>

#include "enforcer/agent/exposition.h"
#include "policy/program/rule.h"

namespace podfence::agent {
namespace {

double seconds_of(Clock::time_point t) {
  return std::chrono::duration<double>(t.time_since_epoch()).count();
}

std::uint64_t resident_bytes() {
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void write_process(Exposition& out, const Activity& activity) {
  out.gauge("process_resident_memory_bytes", "Resident memory.").sample(resident_bytes());
  out.counter("process_cpu_seconds_total", "User and system CPU time.").sample(cpu_seconds());
  out.gauge("process_start_time_seconds", "When the process started.").sample(seconds_of(activity.started));
}

void write_enforcement(Exposition& out, const StatusInputs& in) {
  const auto& activity = in.activity;
  const auto state = state_of(in);
  out.gauge("podfence_build_info", "The version that runs.").sample(std::uint64_t{1}, {{"version", in.version}});
  out.gauge("podfence_state", "1 for the agent's present state.");
  for (const std::string_view word : {"starting", "enforcing", "degraded"}) {
    out.sample(std::uint64_t{state == word}, {{"state", word}});
  }
  out.counter("podfence_commits_total", "Transactions that the kernel took.").sample(activity.commits);
  out.counter("podfence_commit_failures_total", "Transactions that have to be tried again.").sample(activity.failures);
  out.histogram("podfence_policy_apply_duration_seconds", "From the change to the kernel's answer.", activity.apply);
  std::uint64_t rules = 0;
  for (const auto& chain : program::chains(in.reconciler.compiler().settings().options)) rules += chain.rules.size();
  out.gauge("podfence_rules", "Rules of the kernel program: as many with a thousand policies as with none.")
      .sample(rules);
  out.counter("podfence_drift_repairs_total", "Foreign changes of our tables that were mended.");
  out.sample(activity.drift_repairs);
  out.counter("podfence_flows_revoked_total", "Established flows that a changed policy cut.");
  out.sample(activity.flows_revoked);
}

void write_cluster(Exposition& out, const StatusInputs& in) {
  const auto& compiler = in.reconciler.compiler();
  const auto sizes = compiler.sizes();
  out.gauge("podfence_local_pods", "Pods of this node that policies can select.");
  out.sample(std::uint64_t{sizes.local_pods});
  out.gauge("podfence_pods", "Pods that are known.").sample(std::uint64_t{compiler.cluster().pods().size()});
  out.gauge("podfence_policies", "Policies, by whether they select a pod of this node.");
  const auto all = compiler.cluster().policies().size();
  const auto relevant = std::min(all, sizes.relevant_policies);
  out.sample(std::uint64_t{relevant}, {{"relevant", "true"}});
  out.sample(std::uint64_t{all - relevant}, {{"relevant", "false"}});
  out.gauge("podfence_peer_classes", "Classes of peers in the kernel's sets.").sample(std::uint64_t{sizes.classes});
  out.gauge("podfence_withheld_elements", "Elements that the kernel refused.");
  out.sample(std::uint64_t{in.reconciler.withheld().size()});
  out.gauge("podfence_source_problems", "Source files that are not as they should be.");
  out.sample(std::uint64_t{in.files.size()});
  out.gauge("podfence_unguarded_addresses", "Local pod addresses whose interface was not found.");
  out.sample(std::uint64_t{in.unguarded.size()});
  if (in.installer) {
    out.gauge("podfence_cni_install_state", "1 for the state of the plugin's installation.");
    for (const auto state : {install::Condition::installed, install::Condition::waiting, install::Condition::degraded,
                             install::Condition::removed}) {
      out.sample(std::uint64_t{in.installer->condition == state}, {{"state", install::name_of(state)}});
    }
    out.counter("podfence_cni_install_repairs_total", "Times that the plugin was put back into the runtime's chain.");
    out.sample(in.installer->repairs);
  }
  if (in.sandboxes == nullptr) return;
  const auto plugged = in.sandboxes->attachments().all().size();
  out.gauge("podfence_attachments", "Pod interfaces that the CNI plugin reported.").sample(std::uint64_t{plugged});
  const bool expected = in.expects_cni || plugged != 0;
  out.gauge("podfence_unmanaged_pods", "Local pods that the CNI plugin should have reported and did not.");
  out.sample(std::uint64_t{expected ? in.sandboxes->join().unmanaged().size() : 0});
}

/// The generation in force of each policy that selects a pod of this node.
void write_generations(Exposition& out, const StatusInputs& in) {
  const auto& compiler = in.reconciler.compiler();
  const auto& cluster = compiler.cluster();
  std::map<std::string, std::vector<const api::Pod*>> pods;
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.node == compiler.settings().node && pod.selectable()) pods[key.first].push_back(&pod);
  }
  out.gauge("podfence_policy_generation", "metadata.generation of the policies that select a pod of this node.");
  for (const auto& [key, policy] : cluster.policies()) {
    const auto here = pods.find(key.first);
    if (here == pods.end()) continue;
    const bool selects = std::any_of(here->second.begin(), here->second.end(), [&, &policy = policy](const auto* pod) {
      return policy.pod_selector.matches(pod->meta.labels);
    });
    if (!selects) continue;
    out.sample(static_cast<double>(policy.meta.generation), {{"namespace", key.first}, {"policy", key.second}});
  }
}

void write_denied(Exposition& out, const flow::PipelineStats& flows) {
  const auto counted = [&](const char* counter) {
    const auto found = flows.counters.find(counter);
    return found == flows.counters.end() ? std::uint64_t{0} : found->second;
  };
  out.counter("podfence_denied_packets_total", "Packets that were dropped, by the kernel's counters.");
  struct Row {
    const char* counter;
    const char* direction;
    const char* reason;
  };
  for (const auto& row : {Row{"denied_in", "ingress", "default_deny"}, Row{"denied_out", "egress", "default_deny"},
                          Row{"unknown_in", "ingress", "fail_closed"}, Row{"unknown_out", "egress", "fail_closed"},
                          Row{"spoofed", "egress", "spoofed_source"}}) {
    out.sample(counted(row.counter), {{"direction", row.direction}, {"reason", row.reason}});
  }
  out.counter("podfence_flow_events_suppressed_total", "Of these, packets over a log rate: counted, not logged.");
  out.sample(counted("over_source"), {{"cause", "source_limit"}});
  out.sample(counted("over_node"), {{"cause", "global_limit"}});
  out.sample(counted("over_spoofed"), {{"cause", "spoofed_limit"}});
}

/// A pod that is isolated by several policies is denied by all of them.
void write_by_policy(Exposition& out, const flow::PolicyTraffic& denied) {
  const auto write = [&](const auto& value) {
    for (const auto& [key, traffic] : denied) {
      out.sample(value(traffic), {{"direction", net::name_of(key.first)},
                                  {"verdict", "deny"},
                                  {"reason", "default_deny"},
                                  {"policy_namespace", key.second.first},
                                  {"policy", key.second.second}});
    }
  };
  out.counter(
      "podfence_policy_packets_total",
      "Packets that were dropped because the policy isolates the pod and no policy admits them, by the kernel's "
      "counters. A packet counts for each policy that isolates the pod: sums are podfence_denied_packets_total.");
  write([](const flow::Traffic& traffic) { return traffic.packets; });
  out.counter("podfence_policy_bytes_total", "The same in bytes, with the IP header.");
  write([](const flow::Traffic& traffic) { return traffic.bytes; });
}

void write_flows(Exposition& out, const StatusInputs& in, const flow::PipelineStats& flows) {
  const auto group = std::to_string(in.reconciler.compiler().settings().options.log_group);
  out.counter("podfence_flow_events_received_total", "Log messages of the kernel, by the rules' owner.");
  out.sample(flows.received, {{"group", group}, {"owner", "podfence"}});
  out.sample(flows.foreign, {{"group", group}, {"owner", "foreign"}});
  out.counter("podfence_flow_events_malformed_total", "Log messages that could not be read.").sample(flows.malformed);
  out.counter("podfence_flow_events_lost_total", "Denied packets that no record tells of, stated as lost.");
  for (const char* stage : {"kernel_limit", "nflog_seq_gap", "nflog_tail"}) {
    if (flows.lost.count(stage) == 0) out.sample(std::uint64_t{0}, {{"stage", stage}});
  }
  for (const auto& [stage, lost] : flows.lost) out.sample(lost, {{"stage", stage}});
  out.counter("podfence_flow_records_total", "Flow records. Verdict error: of a rule that is not ours.");
  auto judged = flows.judged;
  for (const auto direction : net::directions) judged.try_emplace({flow::Verdict::deny, direction});
  for (const auto& [what, records] : judged) {
    out.sample(records, {{"type", "flow"}, {"verdict", name_of(what.first)}, {"direction", net::name_of(what.second)}});
  }
  out.counter("podfence_flow_attribution_total", "Flow records, by how sure the policies that they name are.");
  for (const auto attribution : {flow::Attribution::set, flow::Attribution::stale, flow::Attribution::none}) {
    out.sample(flows.attributed.at(static_cast<std::size_t>(attribution)), {{"result", name_of(attribution)}});
  }
  out.counter("podfence_detections_total", "Patterns that somebody should look at; see the records of type detection.");
  for (const auto& [detection, count] : flows.detections) {
    out.sample(count, {{"detection", detection.first}, {"severity", name_of(detection.second)}});
  }
  out.histogram("podfence_flow_delay_seconds",
                "From the first packet of a flow record to its line in the log; a window of aggregation is in it.",
                flows.delays);
  out.gauge("podfence_flow_aggregation_entries", "Flows whose window has not ended.");
  out.sample(std::uint64_t{flows.open_flows});
  out.gauge("podfence_flow_queue_length", "Lines that wait for the sink.");
  out.sample(std::uint64_t{flows.waiting_lines}, {{"queue", flows.sink}});
  out.gauge("podfence_flow_listening", "1 while the kernel's log messages are read.");
  out.sample(std::uint64_t{flows.listen_error.empty()});
  out.counter("podfence_sink_records_total",
              "Records, by what became of them: taken, to be sent again, never sent, left out by the sink's limits.");
  out.sample(flows.lines_written, {{"sink", flows.sink}, {"result", "ok"}});
  for (const auto& sink : in.sinks) {
    out.sample(sink.sent, {{"sink", sink.sink}, {"result", "ok"}});
    out.sample(sink.retries, {{"sink", sink.sink}, {"result", "retry"}});
    out.sample(sink.dropped, {{"sink", sink.sink}, {"result", "dropped"}});
    out.sample(sink.suppressed, {{"sink", sink.sink}, {"result", "suppressed"}});
  }
  out.gauge("podfence_sink_up", "0 while the sink refuses lines.");
  out.sample(std::uint64_t{flows.write_error.empty()}, {{"sink", flows.sink}});
  for (const auto& sink : in.sinks) out.sample(std::uint64_t{sink.error.empty()}, {{"sink", sink.sink}});
  out.gauge("podfence_sink_last_success_timestamp_seconds", "When the sink took a record last.");
  if (flows.last_written) out.sample(seconds_of(*flows.last_written), {{"sink", flows.sink}});
  for (const auto& sink : in.sinks) {
    if (sink.last_success) out.sample(seconds_of(*sink.last_success), {{"sink", sink.sink}});
  }
}

/// Nothing where nobody observes. Families of their own: sums over denied packets must not hold allowed flows.
void write_observed(Exposition& out, const ObservedFlows& observed) {
  if (!observed.stats && observed.error.empty()) return;
  const auto stats = observed.stats.value_or(flow::PipelineStats{});
  const auto counted = [&](const char* counter) {
    const auto found = stats.counters.find(counter);
    return found == stats.counters.end() ? std::uint64_t{0} : found->second;
  };
  out.gauge("podfence_observed_addresses", "Addresses of pods whose allowed flows are observed.");
  out.sample(std::uint64_t{observed.addresses});
  out.gauge("podfence_observed_up", "0 while flows are not observed, or not written, that should be.");
  out.sample(std::uint64_t{observed.error.empty() && stats.listen_error.empty() && stats.write_error.empty()});
  out.counter("podfence_observed_repairs_total", "Foreign changes of the table of observed flows that were mended.");
  out.sample(observed.repairs);
  out.counter("podfence_observed_flows_total", "Flows that were allowed, by the kernel's counters.");
  out.sample(counted("observed_in"), {{"direction", "ingress"}, {"verdict", "allow"}});
  out.sample(counted("observed_out"), {{"direction", "egress"}, {"verdict", "allow"}});
  out.counter("podfence_observed_suppressed_total", "Of these, flows over a log rate: counted, not logged.");
  out.sample(counted("over_source"), {{"cause", "source_limit"}});
  out.sample(counted("over_node"), {{"cause", "global_limit"}});
  out.counter("podfence_observed_lost_total", "Of these, flows that no record tells of, stated as lost.");
  for (const char* stage : {"kernel_limit", "nflog_seq_gap", "nflog_tail"}) {
    if (stats.lost.count(stage) == 0) out.sample(std::uint64_t{0}, {{"stage", stage}});
  }
  for (const auto& [stage, lost] : stats.lost) out.sample(lost, {{"stage", stage}});
  out.counter("podfence_observed_records_total", "Flow records of allowed flows.").sample(stats.records);
  out.gauge("podfence_observed_queue_length", "Lines that wait for the log of allowed flows.");
  out.sample(std::uint64_t{stats.waiting_lines});
}

void write_checkpoint(Exposition& out, const StatusInputs& in) {
  out.gauge("podfence_fail_static", "1 while rules stay in force that the source cannot be asked about.");
  out.sample(std::uint64_t{is_fail_static(in)});
  if (!in.checkpoint) return;
  const auto& checkpoint = *in.checkpoint;
  out.gauge("podfence_checkpoint_age_seconds", "Since the last good world was written. None yet: no sample.");
  if (checkpoint.written) out.sample(age_of(*checkpoint.written));
  out.gauge("podfence_checkpoint_enforced", "1 while the checkpoint is enforced: the API server has not answered yet.");
  out.sample(std::uint64_t{checkpoint.enforced});
  out.gauge("podfence_checkpoint_bytes", "Size of the last good world on disk.")
      .sample(std::uint64_t{checkpoint.bytes});
  out.counter("podfence_checkpoint_writes_total", "Checkpoints that are on disk.").sample(checkpoint.writes);
  out.counter("podfence_checkpoint_failures_total", "Checkpoints that could not be written.");
  out.sample(checkpoint.failures);
  out.counter("podfence_checkpoint_rejected_total", "Checkpoints that were found at the start and not taken.");
  out.sample(checkpoint.rejected);
}

/// Nothing for a directory.
void write_api(Exposition& out, const std::vector<WatchedType>& types) {
  if (types.empty()) return;
  const auto each = [&](const auto& value) {
    for (const auto& type : types) out.sample(value(type), {{"type", type.name}});
  };
  out.gauge("podfence_kubernetes_synced", "1 once the type has been listed.");
  each([](const auto& type) { return std::uint64_t{type.synced}; });
  out.gauge("podfence_kubernetes_watching", "1 while a watch is open.");
  each([](const auto& type) { return std::uint64_t{type.state == "watching"}; });
  out.gauge("podfence_kubernetes_objects", "Objects that are known.");
  each([](const auto& type) { return std::uint64_t{type.objects}; });
  out.gauge("podfence_kubernetes_last_contact_age_seconds", "Since the API server said anything of the type.");
  for (const auto& type : types) {
    if (type.last_contact_age) out.sample(*type.last_contact_age, {{"type", type.name}});
  }
  out.counter("podfence_kubernetes_relists_total", "Lists after the first one.");
  each([](const auto& type) { return type.lists == 0 ? type.lists : type.lists - 1; });
  out.counter("podfence_kubernetes_received_events_total", "Events of watches.");
  each([](const auto& type) { return type.events; });
  out.counter("podfence_kubernetes_received_bytes_total", "Of lists and watches.");
  each([](const auto& type) { return type.bytes; });
  out.counter("podfence_kubernetes_rollbacks_total", "Times that the server's history went back.");
  each([](const auto& type) { return type.rollbacks; });
  out.counter("podfence_kubernetes_missed_events_total", "Changes that no event told of.");
  each([](const auto& type) { return type.missed_events; });
}

}  // namespace

std::string metrics_text(const MetricsInputs& in) {
  Exposition out;
  write_enforcement(out, in.status);
  write_cluster(out, in.status);
  write_generations(out, in.status);
  write_denied(out, in.flows);
  write_by_policy(out, in.status.denied);
  write_flows(out, in.status, in.flows);
  write_observed(out, in.status.observed);
  write_checkpoint(out, in.status);
  write_api(out, in.status.types);
  write_process(out, in.status.activity);
  return out.text();
}

}  // namespace podfence::agent
