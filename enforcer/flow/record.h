#pragma once
// Flow records as they are written: schema podfence.flow/v1, one JSON object in a line of at most 16 KiB. Within v1
// fields are only ever added; a field without a value is left out. Names come from the cluster and are not trusted:
// whatever they hold, a line stays one line of valid JSON without control characters.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "enforcer/flow/time.h"
#include "policy/net/flow.h"

namespace podfence::flow {

inline constexpr std::size_t longest_line = 16 * 1024;  // with its newline
inline constexpr std::size_t most_policies = 8;
inline constexpr std::size_t most_labels = 8;           // keys that records can be asked to hold
inline constexpr std::size_t longest_label_value = 63;  // what is longer is no label, and cut

enum class EndpointType : std::uint8_t { pod, node, world, unknown };
enum class Verdict : std::uint8_t { deny, error, allow };
enum class Reason : std::uint8_t {
  default_deny,
  fail_closed,
  spoofed_source,
  unattributed,
  explicit_allow,
  default_allow,
  not_selected,
};
/// Of the policies: `set` = all that isolated the pod, or that allowed the flow; `stale` = the same, from the recent
/// past; `none` = not known.
enum class Attribution : std::uint8_t { set, stale, none };

std::string_view name_of(EndpointType type);
std::string_view name_of(Verdict verdict);
std::string_view name_of(Reason reason);
std::string_view name_of(Attribution attribution);

using Labels = std::vector<std::pair<std::string, std::string>>;
/// "app=web"
std::string text_of(const Labels::value_type& label);

/// Who an endpoint is in the cluster; empty fields are not known.
struct K8s {
  std::string namespace_;
  std::string pod;
  std::string pod_uid;
  std::string workload_kind;
  std::string workload;
  std::string node;
  std::string port_name;
  /// Those that records are to hold, sorted; nothing where none were asked for. Values are as little to be trusted as
  /// names.
  std::optional<Labels> labels = {};
};

struct Endpoint {
  EndpointType type = EndpointType::unknown;
  std::optional<net::IpAddr> ip;
  std::optional<net::Port> port;
  K8s k8s;
};

/// A NetworkPolicy that isolates the pod which denied, or one of those that allowed.
struct PolicyRef {
  std::string namespace_;
  std::string name;
  std::string uid;
  std::int64_t generation = 0;
  std::string rule = {};  // "ingress[0]", of one that allowed the flow; otherwise it isolates the pod
  friend bool operator==(const PolicyRef&, const PolicyRef&) = default;
};

/// What many flows in one record were: of a scan, or of a pod that is denied all over.
struct Scan {
  static constexpr std::size_t most_examples = 8;
  std::uint64_t ports = 0;  // different ones
  std::uint64_t ends = 0;   // different addresses that are not the local pod's; sources where far_is_source() says so
  bool at_least = false;    // there were more than are counted
  std::vector<net::Port> port_examples;
  std::vector<net::IpAddr> end_examples;
  friend bool operator==(const Scan&, const Scan&) = default;
};
struct FlowRecord {
  TimePoint time;  // of the first packet
  TimePoint end;   // of the last packet
  net::Direction direction = net::Direction::ingress;
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::default_deny;
  Attribution attribution = Attribution::none;
  std::vector<PolicyRef> policies;
  Endpoint source;  // who began the flow, also when a reply was denied
  Endpoint destination;
  std::optional<net::Family> family;
  std::optional<net::Protocol> protocol;
  std::optional<std::uint8_t> tcp_flags;
  std::optional<std::uint8_t> icmp_type;
  std::optional<std::uint8_t> icmp_code;
  bool reply = false;     // the packets were of the reply direction
  std::string interface;  // of the local pod, on the node
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  /// Of a record for many flows: what they differ in is not in its ends.
  std::optional<Scan> scan = {};
};

/// Packets that the kernel counted and no record tells of.
struct LossRecord {
  TimePoint time;
  TimePoint end;
  std::string stage;  // kernel_limit, nflog_seq_gap, nflog_tail, sink:<name>
  std::uint64_t lost = 0;
  bool exact = true;
  std::optional<std::uint16_t> group;
};

/// Something that the agent did. A consumer needs it to read the gaps between records.
struct AgentRecord {
  TimePoint time;
  std::string event;  // "start", "stop", "policy_applied", "account_ignored"
  std::string detail;
  std::optional<PolicyRef> policy;
  std::optional<std::uint64_t> duration_ms;
};

enum class Severity : std::uint8_t { medium, high, critical };
std::string_view name_of(Severity severity);

/// A pattern in what was denied, or in what was done to the agent; see detect.h. Its fields are as little to be trusted
/// as those of a flow record: names and addresses are chosen by those whom it is about.
struct DetectionRecord {
  TimePoint time;
  std::string detection;
  Severity severity = Severity::medium;
  std::optional<Endpoint> source = {};
  std::optional<Endpoint> destination = {};
  std::string detail = {};  // of agent_tamper: what was changed
  std::string by = {};      // of agent_tamper: by whom, where that is known
  std::vector<std::pair<std::string, std::uint64_t>> evidence = {};
  std::vector<std::uint64_t> samples = {};  // numbers of flow records that show it
};

/// The first `most` bytes, never half a character.
std::string_view cut(std::string_view text, std::size_t most);

/// The letters of TCP flags: "S", "SA", "FPA".
std::string tcp_flag_letters(std::uint8_t flags);

/// Gives records their line. The id is node:instance:number.
class RecordWriter {
 public:
  RecordWriter(std::string node, std::string cluster, std::string instance);

  /// Lines end in a newline. `observed` is the time of writing.
  std::string line(const FlowRecord& record, std::uint64_t sequence, TimePoint observed) const;
  std::string line(const LossRecord& record, std::uint64_t sequence) const;
  std::string line(const AgentRecord& record, std::uint64_t sequence) const;
  std::string line(const DetectionRecord& record, std::uint64_t sequence) const;

 private:
  std::string node_;
  std::string cluster_;
  std::string instance_;
};

}  // namespace podfence::flow
