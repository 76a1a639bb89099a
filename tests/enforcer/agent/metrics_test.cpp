// The metrics of a small world.
#include "enforcer/agent/metrics.h"

#include <gtest/gtest.h>

#include "tests/enforcer/agent/worlds.h"

namespace podfence::agent {
namespace {

using namespace std::literals;

struct Node {
  Node() : reconciler(settings("n1"), kernel) {
    reconciler.take(upserts(shop()));
    reconciler.start();
  }
  std::string text() const {
    const StatusInputs status{.version = "1.2.3",
                              .reconciler = reconciler,
                              .activity = activity,
                              .files = {},
                              .source = "dir:/x",
                              .flows_json = "",
                              .unguarded = {"10.0.0.9"},
                              .guard_error = {},
                              .observed = observed,
                              .denied = denied,
                              .installer = installer,
                              .types = types};
    return metrics_text({status, flows});
  }
  test::FakeKernel kernel;
  Reconciler reconciler;
  Activity activity;
  flow::PipelineStats flows;
  flow::PolicyTraffic denied;
  ObservedFlows observed;
  std::optional<install::State> installer;
  std::vector<WatchedType> types;
};

bool has(const std::string& text, const std::string& line) {
  return text.find("\n" + line + "\n") != std::string::npos;
}

TEST(Metrics, of_the_kubernetes_api_for_each_type) {
  Node node;
  EXPECT_EQ(node.text().find("podfence_kubernetes"), std::string::npos) << "nothing for a directory";
  node.types = {
      {.name = "pods", .state = "watching", .synced = true, .objects = 3, .last_contact_age = 1.5, .lists = 3},
      {.name = "nodes", .state = "waiting"}};
  const auto text = node.text();
  for (const char* line :
       {R"(podfence_kubernetes_synced{type="pods"} 1)", R"(podfence_kubernetes_synced{type="nodes"} 0)",
        R"(podfence_kubernetes_watching{type="nodes"} 0)", R"(podfence_kubernetes_objects{type="pods"} 3)",
        R"(podfence_kubernetes_last_contact_age_seconds{type="pods"} 1.5)",
        R"(podfence_kubernetes_relists_total{type="pods"} 2)",
        R"(podfence_kubernetes_relists_total{type="nodes"} 0)"}) {
    EXPECT_TRUE(has(text, line)) << line << text;
  }
}

TEST(Metrics, show_the_kernels_counters_and_the_losses) {
  Node node;
  node.flows.counters = {{"denied_in", 7}, {"denied_out", 5}, {"unknown_in", 3}, {"spoofed", 2}, {"over_source", 1}};
  node.flows.lost = {{"kernel_limit", 4}, {"sink:file", 6}};
  node.flows.attributed = {10, 20, 30};
  node.flows.judged = {{{flow::Verdict::deny, net::Direction::ingress}, 8}};
  node.flows.sink = "file";
  node.flows.last_written = flow::TimePoint(1'700'000'000s);
  node.flows.listen_error = "taken";
  const auto text = node.text();
  for (const char* line : {R"(podfence_denied_packets_total{direction="ingress",reason="default_deny"} 7)",
                           R"(podfence_denied_packets_total{direction="egress",reason="default_deny"} 5)",
                           R"(podfence_denied_packets_total{direction="ingress",reason="fail_closed"} 3)",
                           R"(podfence_denied_packets_total{direction="egress",reason="fail_closed"} 0)",
                           R"(podfence_denied_packets_total{direction="egress",reason="spoofed_source"} 2)",
                           R"(podfence_flow_events_suppressed_total{cause="source_limit"} 1)",
                           R"(podfence_flow_events_lost_total{stage="kernel_limit"} 4)",
                           R"(podfence_flow_events_lost_total{stage="nflog_tail"} 0)",
                           R"(podfence_flow_events_lost_total{stage="sink:file"} 6)",
                           R"(podfence_flow_attribution_total{result="stale"} 20)",
                           R"(podfence_flow_records_total{type="flow",verdict="deny",direction="ingress"} 8)",
                           R"(podfence_flow_records_total{type="flow",verdict="deny",direction="egress"} 0)",
                           "podfence_flow_listening 0", R"(podfence_sink_up{sink="file"} 1)",
                           R"(podfence_build_info{version="1.2.3"} 1)", "podfence_unguarded_addresses 1"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, show_how_late_records_are_with_each_window_in_a_bucket_of_its_own) {
  Node node;
  for (const auto delay : {5s, 6s, 10s, 11s, 20s, 21s, 3600s}) node.flows.delays.add(delay);
  const auto text = node.text();
  for (const char* line :
       {R"(podfence_flow_delay_seconds_bucket{le="2.5"} 0)", R"(podfence_flow_delay_seconds_bucket{le="6.5"} 2)",
        R"(podfence_flow_delay_seconds_bucket{le="8"} 2)", R"(podfence_flow_delay_seconds_bucket{le="11.5"} 4)",
        R"(podfence_flow_delay_seconds_bucket{le="15"} 4)", R"(podfence_flow_delay_seconds_bucket{le="21.5"} 6)",
        R"(podfence_flow_delay_seconds_bucket{le="900"} 6)", R"(podfence_flow_delay_seconds_bucket{le="+Inf"} 7)",
        "podfence_flow_delay_seconds_sum 3673", "podfence_flow_delay_seconds_count 7"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, show_what_each_policy_denied) {
  Node node;
  node.denied = {{{net::Direction::ingress, {"shop", "default-deny"}}, {7, 420}},
                 {{net::Direction::egress, {"shop", "none-out"}}, {0, 0}}};
  const auto text = node.text();
  const std::string of_one =
      R"(direction="ingress",verdict="deny",reason="default_deny",policy_namespace="shop",policy="default-deny")";
  const std::string of_other =
      R"(direction="egress",verdict="deny",reason="default_deny",policy_namespace="shop",policy="none-out")";
  for (const auto& line :
       {"podfence_policy_packets_total{" + of_one + "} 7", "podfence_policy_bytes_total{" + of_one + "} 420",
        "podfence_policy_packets_total{" + of_other + "} 0"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, show_observed_flows_apart_from_denied_packets) {
  Node node;
  EXPECT_EQ(node.text().find("podfence_observed"), std::string::npos) << "nothing where nobody observes";
  node.observed.error = "allowed flows need a flow log that is a file";
  EXPECT_TRUE(has(node.text(), "podfence_observed_up 0"));
  flow::PipelineStats stats;
  stats.counters = {{"observed_in", 7}, {"observed_out", 5}, {"over_source", 3}};
  stats.lost = {{"kernel_limit", 3}};
  stats.records = 4;
  node.observed = {6, "", 2, stats};
  const auto text = node.text();
  for (const char* line :
       {"podfence_observed_addresses 6", "podfence_observed_up 1", "podfence_observed_repairs_total 2",
        R"(podfence_observed_flows_total{direction="ingress",verdict="allow"} 7)",
        R"(podfence_observed_flows_total{direction="egress",verdict="allow"} 5)",
        R"(podfence_observed_suppressed_total{cause="source_limit"} 3)",
        R"(podfence_observed_lost_total{stage="kernel_limit"} 3)",
        R"(podfence_observed_lost_total{stage="nflog_tail"} 0)", "podfence_observed_records_total 4",
        R"(podfence_denied_packets_total{direction="ingress",reason="default_deny"} 0)",
        R"(podfence_flow_events_lost_total{stage="kernel_limit"} 0)"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, show_the_state_and_how_long_commits_took) {
  Node node;
  EXPECT_TRUE(has(node.text(), R"(podfence_state{state="starting"} 1)"));
  node.activity.enforcing_since = Clock::time_point(1'700'000'000s);
  node.activity.apply.add(3ms);
  node.activity.commits = 9;
  node.activity.failures = 2;
  const auto text = node.text();
  for (const char* line :
       {R"(podfence_state{state="enforcing"} 1)", R"(podfence_state{state="starting"} 0)", "podfence_commits_total 9",
        "podfence_commit_failures_total 2", R"(podfence_policy_apply_duration_seconds_bucket{le="0.0025"} 0)",
        R"(podfence_policy_apply_duration_seconds_bucket{le="0.005"} 1)",
        "podfence_policy_apply_duration_seconds_count 1"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, show_the_plugins_installation_where_there_is_one) {
  Node node;
  EXPECT_EQ(node.text().find("podfence_cni_install"), std::string::npos);
  node.installer.emplace();
  node.installer->condition = install::Condition::degraded;
  node.installer->repairs = 4;
  const auto text = node.text();
  for (const char* line :
       {R"(podfence_cni_install_state{state="degraded"} 1)", R"(podfence_cni_install_state{state="installed"} 0)",
        "podfence_cni_install_repairs_total 4"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, name_no_pods_and_the_policies_that_select_one_here) {
  Node node;
  const auto text = node.text();
  EXPECT_NE(text.find("podfence_policy_generation{namespace="), std::string::npos) << text;
  EXPECT_EQ(text.find("\"cli\""), std::string::npos);
  EXPECT_EQ(text.find("pod=\""), std::string::npos);
}

}  // namespace
}  // namespace podfence::agent
