#include "enforcer/agent/status.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "policy/base/json_writer.h"
#include "policy/evaluate/evaluate.h"

namespace podfence::agent {
namespace {

void write_time(JsonWriter& json, std::string_view name, const std::optional<Clock::time_point>& t) {
  if (t) json.field(name, time_text(*t));
}

/// Pods of this node that policy can select, by namespace.
std::map<std::string, std::vector<const api::Pod*>> local_pods(const compile::Compiler& compiler) {
  std::map<std::string, std::vector<const api::Pod*>> by_namespace;
  for (const auto& [key, pod] : compiler.cluster().pods()) {
    if (pod.node == compiler.settings().node && pod.selectable()) by_namespace[key.first].push_back(&pod);
  }
  return by_namespace;
}

void write_isolation(JsonWriter& json, const store::Cluster& cluster, const api::Pod& pod, net::Direction direction) {
  json.key(net::name_of(direction)).begin_array();
  for (const auto* policy : evaluate::isolating(cluster, pod, direction)) json.value(policy->meta.name);
  json.end_array();
}

void write_pods(JsonWriter& json, const store::Cluster& cluster,
                const std::map<std::string, std::vector<const api::Pod*>>& pods) {
  json.key("pods").begin_array();
  for (const auto& [namespace_, list] : pods) {
    for (const auto* pod : list) {
      json.begin_object().field("namespace", namespace_).field("pod", pod->meta.name);
      json.key("ips").begin_array();
      for (const auto& ip : pod->ips) json.value(ip.text());
      json.end_array().key("isolated_by").begin_object();
      for (const auto direction : net::directions) write_isolation(json, cluster, *pod, direction);
      json.end_object().end_object();
    }
  }
  json.end_array();
}

void write_policies(JsonWriter& json, const store::Cluster& cluster, const flow::PolicyTraffic& denied,
                    const std::map<std::string, std::vector<const api::Pod*>>& pods) {
  json.key("policies").begin_array();
  for (const auto& [key, policy] : cluster.policies()) {
    std::size_t selected = 0;
    if (const auto here = pods.find(key.first); here != pods.end()) {
      for (const auto* pod : here->second) selected += policy.pod_selector.matches(pod->meta.labels) ? 1 : 0;
    }
    json.begin_object().field("namespace", key.first).field("policy", key.second);
    json.field("generation", policy.meta.generation);
    json.field("ingress", policy.isolates_ingress).field("egress", policy.isolates_egress);
    json.field("selected_pods", selected);
    std::uint64_t packets = 0;
    for (const auto direction : net::directions) {
      if (const auto found = denied.find({direction, key}); found != denied.end()) packets += found->second.packets;
    }
    json.field("denied_packets", packets);
    if (selected == 0) json.field("inert", "selects no pod of this node");
    json.end_object();
  }
  json.end_array();
}

void write_activity(JsonWriter& json, const Activity& activity) {
  json.key("commits").begin_object().field("count", activity.commits);
  write_time(json, "last", activity.last_commit);
  json.field("last_took_us", activity.last_commit_took.count());
  json.field("last_operations", activity.last_commit_operations);
  if (!activity.last_error.empty()) json.field("error", activity.last_error);
  json.end_object();
  json.key("drift").begin_object().field("repairs", activity.drift_repairs);
  json.field("operations", activity.drift_operations);
  write_time(json, "last", activity.last_drift);
  json.end_object();
  json.key("established").begin_object().field("revoked", activity.flows_revoked);
  if (!activity.revoke_error.empty()) json.field("error", activity.revoke_error);
  json.end_object();
}

void write_types(JsonWriter& json, const std::vector<WatchedType>& types) {
  if (types.empty()) return;
  json.key("kubernetes").begin_array();
  for (const auto& type : types) {
    json.begin_object().field("type", type.name).field("state", type.state).field("synced", type.synced);
    json.field("cursor", type.cursor).field("objects", type.objects);
    if (type.last_event_age) json.field("last_event_age_seconds", *type.last_event_age);
    if (type.last_contact_age) json.field("last_contact_age_seconds", *type.last_contact_age);
    json.field("relists", type.lists == 0 ? 0 : type.lists - 1).field("expired", type.expired);
    json.field("rollbacks", type.rollbacks).field("missed_events", type.missed_events);
    json.field("events", type.events).field("bytes", type.bytes);
    if (type.possibly_stale) json.field("possibly_stale", true);
    if (!type.error.empty()) json.field("error", type.error);
    json.end_object();
  }
  json.end_array();
}

void write_checkpoint(JsonWriter& json, const CheckpointStatus& checkpoint) {
  json.key("checkpoint").begin_object().field("file", checkpoint.file).field("enforced", checkpoint.enforced);
  write_time(json, "written", checkpoint.written);
  if (checkpoint.written) json.field("age_seconds", age_of(*checkpoint.written));
  json.field("bytes", checkpoint.bytes).field("writes", checkpoint.writes).field("failures", checkpoint.failures);
  if (!checkpoint.error.empty()) json.field("error", checkpoint.error);
  if (!checkpoint.ignored.empty()) json.field("ignored", checkpoint.ignored);
  json.end_object();
}

void write_problems(JsonWriter& json, const StatusInputs& in) {
  json.key("files").begin_array();
  for (const auto& file : in.files) {
    json.begin_object().field("file", file.file).field("last_good_content", file.stale).key("errors").begin_array();
    for (const auto& message : file.messages) json.value(message);
    json.end_array().end_object();
  }
  json.end_array();
  json.key("withheld").begin_array();
  for (const auto& w : in.reconciler.withheld()) {
    json.begin_object().field("set", program::name_of(w.set));
    json.field("element", program::text_of(w.set, w.element)).field("why", w.why).end_object();
  }
  json.end_array();
  json.key("unguarded").begin_array();
  for (const auto& address : in.unguarded) json.value(address);
  json.end_array();
  if (!in.guard_error.empty()) json.field("guard_error", in.guard_error);
}

void write_attachment(JsonWriter& json, const sandbox::Attachment& a, bool pod_known) {
  json.begin_object().field("namespace", a.pod_namespace).field("pod", a.pod_name);
  json.field("container_id", a.key.container_id).field("ifname", a.key.ifname).field("network", a.network);
  json.field("host_interface", a.host_interface).key("addresses").begin_array();
  for (const auto& ip : a.addresses) json.value(ip.text());
  json.end_array().field("pod_known", pod_known).end_object();
}

void write_sandboxes(JsonWriter& json, const StatusInputs& in) {
  if (in.sandboxes == nullptr) return;
  const auto& all = in.sandboxes->attachments().all();
  json.key("attachments").begin_array();
  for (const auto& [key, a] : all) write_attachment(json, a, in.sandboxes->join().pod_of(a) != nullptr);
  json.end_array().key("attachment_problems").begin_array();
  for (const auto& problem : in.sandboxes->problems()) json.value(problem);
  json.end_array();
  if (in.installer) {
    json.key("cni_install").begin_object().field("state", install::name_of(in.installer->condition));
    if (!in.installer->problem.empty()) json.field("problem", in.installer->problem);
    json.field("file", in.installer->file).field("verified", in.installer->verified);
    json.field("repairs", in.installer->repairs).end_object();
  }
  json.key("unmanaged").begin_array();
  if (in.expects_cni || !all.empty()) {
    for (const auto& u : in.sandboxes->join().unmanaged()) {
      json.begin_object().field("namespace", u.pod.first).field("pod", u.pod.second).field("why", u.why).end_object();
    }
  }
  json.end_array();
}

/// Nothing where nobody observes.
void write_observed(JsonWriter& json, const ObservedFlows& observed) {
  if (!observed.stats && observed.error.empty()) return;
  json.key("observed").begin_object().field("addresses", observed.addresses);
  if (!observed.error.empty()) json.field("error", observed.error);
  if (observed.stats) {
    const auto& stats = *observed.stats;
    std::uint64_t lost = 0;
    for (const auto& [stage, packets] : stats.lost) lost += packets;
    json.field("flows", stats.dropped).field("records", stats.records).field("recorded", stats.recorded);
    json.field("lost", lost).field("repairs", observed.repairs);
    if (!stats.listen_error.empty()) json.field("listen_error", stats.listen_error);
    if (!stats.write_error.empty()) json.field("write_error", stats.write_error);
  }
  json.end_object();
}

}  // namespace

double age_of(Clock::time_point t) {
  return std::max(0.0, std::chrono::duration<double>(Clock::now() - t).count());
}

std::string time_text(Clock::time_point t) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(Clock::to_time_t(t)));
}

bool is_fail_static(const StatusInputs& in) {
  if (!in.activity.enforcing_since) return false;
  if (in.checkpoint && in.checkpoint->enforced) return true;
  return std::any_of(in.types.begin(), in.types.end(), [](const auto& type) { return !type.error.empty(); });
}

std::string_view state_of(const StatusInputs& in) {
  if (!in.activity.enforcing_since) return "starting";
  const bool keeps = !in.checkpoint || in.checkpoint->error.empty();
  const bool whole = keeps && !is_fail_static(in) && in.files.empty() && in.reconciler.withheld().empty() &&
                     in.activity.last_error.empty() && in.guard_error.empty();
  return whole ? "enforcing" : "degraded";
}

std::string status_json(const StatusInputs& in) {
  const auto& compiler = in.reconciler.compiler();
  const auto pods = local_pods(compiler);
  const auto sizes = compiler.sizes();
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("version", in.version).field("node", compiler.settings().node);
  json.field("source", in.source).field("state", state_of(in));
  write_time(json, "started", in.activity.started);
  write_time(json, "enforcing_since", in.activity.enforcing_since);
  json.field("fail_static", is_fail_static(in));
  json.key("counts").begin_object().field("local_pods", sizes.local_pods);
  json.field("pods", compiler.cluster().pods().size()).field("policies", compiler.cluster().policies().size());
  json.field("relevant_policies", sizes.relevant_policies).field("peer_specs", sizes.peer_specs);
  json.field("classes", sizes.classes);
  json.field("attachments", in.sandboxes == nullptr ? 0 : in.sandboxes->attachments().all().size()).end_object();
  write_activity(json, in.activity);
  write_types(json, in.types);
  if (in.checkpoint) write_checkpoint(json, *in.checkpoint);
  write_problems(json, in);
  write_sandboxes(json, in);
  write_pods(json, compiler.cluster(), pods);
  write_policies(json, compiler.cluster(), in.denied, pods);
  write_observed(json, in.observed);
  json.key("sinks").begin_array();
  for (const auto& sink : in.sinks) {
    json.begin_object().field("sink", sink.sink).field("sent", sink.sent).field("retries", sink.retries);
    json.field("dropped", sink.dropped).field("suppressed", sink.suppressed);
    write_time(json, "last_success", sink.last_success);
    if (!sink.error.empty()) json.field("error", sink.error);
    json.end_object();
  }
  json.end_array();
  if (!in.http_address.empty()) {
    json.key("http").begin_object().field("address", in.http_address);
    if (!in.http_error.empty()) json.field("error", in.http_error);
    json.end_object();
  }
  json.key("flows").raw(in.flows_json.empty() ? "null" : in.flows_json);
  json.end_object();
  return out;
}

}  // namespace podfence::agent
