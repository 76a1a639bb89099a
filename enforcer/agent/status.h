#pragma once
// What `podfence status` shows, as one JSON object: what is enforced, what is not and why, and what was lost.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/agent/reconciler.h"
#include "enforcer/flow/pipeline.h"
#include "enforcer/flow/policy_account.h"
#include "enforcer/install/state.h"
#include "enforcer/sandbox/registry.h"
#include "enforcer/sink/shipper.h"
#include "policy/base/duration_histogram.h"

namespace podfence::agent {

using Clock = std::chrono::system_clock;

/// What the agent did since it started.
struct Activity {
  Clock::time_point started;
  std::optional<Clock::time_point> enforcing_since;
  std::uint64_t commits = 0;
  std::uint64_t failures = 0;  // commits that had to be tried again
  /// From the change to the kernel's answer.
  DurationHistogram apply{
      {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}};
  std::optional<Clock::time_point> last_commit;
  std::chrono::microseconds last_commit_took{0};
  std::size_t last_commit_operations = 0;
  std::string last_error;              // of the last failed commit; empty after a good one
  std::uint64_t drift_repairs = 0;     // times that a foreign change was found and mended
  std::uint64_t drift_operations = 0;  // elements and tables that were mended
  std::optional<Clock::time_point> last_drift;
  std::uint64_t flows_revoked = 0;  // established flows whose label was cleared
  std::string revoke_error;
};

/// One source file that is not as it should be.
struct FileProblem {
  std::string file;
  bool stale = false;  // its last good content is enforced
  std::vector<std::string> messages;
};

/// One type of object that is watched at the API server.
struct WatchedType {
  std::string name;
  std::string state;
  bool synced = false;
  std::string cursor = {};
  std::size_t objects = 0;
  std::optional<double> last_event_age = {};  // seconds
  std::optional<double> last_contact_age = {};
  std::uint64_t lists = 0;  // the first one, too
  std::uint64_t expired = 0;
  std::uint64_t rollbacks = 0;
  std::uint64_t missed_events = 0;
  std::uint64_t events = 0;  // of watches
  std::uint64_t bytes = 0;   // of lists and watches
  bool possibly_stale = false;
  std::string error = {};  // of the last request; empty when all is well
};

/// The last good world on disk, and what became of it.
struct CheckpointStatus {
  std::string file = {};
  bool enforced = false;                          // the API server has not said everything yet: it is what is enforced
  std::optional<Clock::time_point> written = {};  // the one on disk
  std::size_t bytes = 0;
  std::uint64_t writes = 0;
  std::uint64_t failures = 0;
  std::uint64_t rejected = 0;
  std::string error = {};    // of the last write; empty when all is well
  std::string ignored = {};  // why the one of the start was not taken
};

/// Allowed flows of observed pods.
struct ObservedFlows {
  std::size_t addresses = 0;
  std::string error = {};                         // why flows are not observed that should be
  std::uint64_t repairs = 0;                      // times that a foreign change of the table was mended
  std::optional<flow::PipelineStats> stats = {};  // nothing while nothing was ever observed
};

struct StatusInputs {
  std::string_view version;
  const Reconciler& reconciler;
  const Activity& activity;
  std::vector<FileProblem> files;
  std::string source;                  // as configured
  std::string flows_json;              // of the flow pipeline, already JSON; "null" when there is none
  std::vector<std::string> unguarded;  // local pod addresses without a host interface that could be guarded
  std::string guard_error;             // of the source guard; empty when all is well
  std::vector<sink::ShipperStats> sinks = {};
  ObservedFlows observed = {};
  flow::PolicyTraffic denied = {};               // by policy
  std::optional<install::State> installer = {};  // of podfence install-cni, where it was here
  std::string http_address = {};                 // of /metrics; empty: none
  std::string http_error = {};                   // why it is not served; empty when all is well
  const sandbox::Registry* sandboxes = nullptr;
  std::vector<WatchedType> types = {};
  std::optional<CheckpointStatus> checkpoint = {};  // nothing when none is kept
  bool expects_cni = false;                         // name pods that the plugin did not see even where it saw none
};

/// Rules stay in force without anybody who says that they are still the right ones.
bool is_fail_static(const StatusInputs& in);

/// "starting", "enforcing", "degraded"
std::string_view state_of(const StatusInputs& in);

std::string status_json(const StatusInputs& in);

/// The same for people, from the JSON text that the agent answered.
Result<std::string> status_text(std::string_view json);

/// Seconds; 0 when it is to come.
double age_of(Clock::time_point t);

/// RFC 3339, UTC, seconds.
std::string time_text(Clock::time_point t);

}  // namespace podfence::agent
