#pragma once
// A sandbox's interface as the CNI plugin reported it: one attachment for each container id and interface name.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/objects.h"
#include "policy/base/result.h"

namespace podfence::sandbox {

/// Identity of an attachment. A pod's next sandbox has another container id (A10).
struct Key {
  std::string container_id;
  std::string ifname;
  std::string text() const { return container_id + "@" + ifname; }  // the name of its files
  friend auto operator<=>(const Key&, const Key&) = default;
};

/// What the specification allows, short enough for a file's name. An error names the field.
Result<> validate(const Key& key);

/// Container ids and network names: letters, digits, '_', '.', '-', the first one a letter or digit.
bool is_identifier(std::string_view text);

/// "<container_id>@<ifname>" -> Key; nothing else passes.
Result<Key> parse_key(std::string_view text);

struct Attachment {
  Key key;
  std::string network;
  std::string netns;           // path of the sandbox's network namespace
  std::string host_interface;  // the node's end
  std::uint32_t host_ifindex = 0;
  std::string bridge;  // whose port the host interface is; may be empty
  std::vector<net::IpAddr> addresses;
  std::string pod_namespace;  // these three are empty where the runtime does not say
  std::string pod_name;
  std::string pod_uid;
  /// The order in which attachments came: of two that claim an address, the later one has it (D6).
  std::uint64_t sequence = 0;
  friend bool operator==(const Attachment&, const Attachment&) = default;
};

/// Whether the runtime said which pod it is.
inline bool names_pod(const Attachment& a) {
  return !a.pod_namespace.empty() && !a.pod_name.empty();
}

/// Whether it is a sandbox of that pod object: same namespace and name, and the same uid where both are known. A static
/// pod's uid is the kubelet's (a digest), not that of the object by which the API server shows it: it counts as
/// unknown.
bool belongs_to(const Attachment& a, const api::Pod& pod);

/// One line of JSON, and back. Reading trusts nothing.
std::string json_of(const Attachment& a);
Result<Attachment> parse_attachment(std::string_view json);

}  // namespace podfence::sandbox
