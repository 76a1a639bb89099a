#pragma once
// Attachments in a line each, and what a Join tells about a pod.
#include <optional>
#include <string>
#include <vector>

#include "enforcer/sandbox/join.h"
#include "tests/support/builders.h"

namespace podfence::test {

/// The sandbox `id` of pod default/`pod`, on eth0.
inline sandbox::Attachment plugged(std::string id, std::string pod, const std::vector<std::string>& addresses,
                                   std::string uid = "") {
  sandbox::Attachment a;
  a.key = {std::move(id), "eth0"};
  a.network = "net";
  a.netns = "/var/run/netns/" + a.key.container_id;
  a.host_interface = "veth" + a.key.container_id;
  for (const auto& address : addresses) a.addresses.push_back(ip(address));
  if (!pod.empty()) a.pod_namespace = "default";
  a.pod_name = std::move(pod);
  a.pod_uid = std::move(uid);
  return a;
}

/// Attachments and their Join, and what a cluster holds that hears all that the Join says.
class Plugged {
 public:
  void upsert(api::Object object) { hear(join.take(store::Event(store::Upsert{std::move(object)}))); }
  void remove_pod(std::string name, std::string uid = "") {
    hear(join.take(store::Event(store::Remove{{api::Kind::pod, "default", std::move(name)}, std::move(uid)})));
  }
  /// How many events it took.
  std::size_t add(sandbox::Attachment a) {
    a.sequence = attachments.next_sequence();
    const auto key = a.key;
    const auto before = attachments.put(std::move(a));
    return hear(join.added(*attachments.find(key), before));
  }
  std::size_t remove(const std::string& id, const std::string& ifname = "eth0") {
    const auto gone = attachments.remove({id, ifname});
    return gone ? hear(join.removed(*gone)) : 0;
  }
  /// "10.0.0.1 10.0.0.2", "-" for a pod that is not known.
  std::string addresses_of(const std::string& pod) const {
    const auto* found = cluster.find_pod("default", pod);
    if (found == nullptr) return "-";
    std::string text;
    for (const auto& address : found->ips) text += (text.empty() ? "" : " ") + address.text();
    return text;
  }
  std::string owner_of(const std::string& address) const {
    const auto* pod = cluster.pod_by_ip(ip(address));
    return pod == nullptr ? "" : pod->meta.name;
  }

  sandbox::Attachments attachments;
  sandbox::Join join{"n1", attachments};
  store::Cluster cluster;

 private:
  std::size_t hear(const sandbox::Join::Events& events) {
    for (const auto& event : events) cluster.apply(event);
    return events.size();
  }
};

}  // namespace podfence::test
