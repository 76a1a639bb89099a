#pragma once
// Puts the sandboxes' addresses into the pod objects of this node. The kubelet publishes a pod's addresses only after
// ADD has returned, and goes on publishing those of a sandbox that is gone; the plugin knows at once. So, of a pod
// here:
//   - the addresses of its latest sandbox are its own, whatever its status says;
//   - those of its earlier sandboxes are not, nor those that a sandbox of another pod has now (D-11, D-13, X-03);
//   - the others of its status are (a pod that was plugged without podfence-cni has no more than these).
// A value without I/O: it takes the source's events and the changes of the attachments, and gives the events that the
// compiler has to hear. Pods of other nodes, and every other object, pass unchanged.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "enforcer/sandbox/attachments.h"
#include "policy/store/cluster.h"

namespace podfence::sandbox {

class Join {
 public:
  using Events = std::vector<store::Event>;

  /// The attachments must outlive it.
  Join(std::string node, const Attachments& attachments) : node_(std::move(node)), attachments_(attachments) {}

  Events take(Events events);
  Events take(const store::Event& event) { return take(Events{event}); }
  /// After `added` was put among the attachments, in place of `replaced` if there was one.
  Events added(const Attachment& added, const std::optional<Attachment>& replaced);
  /// After `removed` was removed from the attachments.
  Events removed(const Attachment& removed);

  /// Addresses that a pod of this node had and has no more, since the last call; some may have another pod by now.
  std::vector<net::IpAddr> take_lost() { return std::exchange(lost_, {}); }

  /// A pod of this node as the source gave it; null for others, and for pods on the node's own network.
  const api::Pod* given(const PodName& name) const;

  /// The pod that the sandbox is of, as the source gave it; null while it is not known.
  const api::Pod* pod_of(const Attachment& attachment) const;

  struct Unmanaged {
    PodName pod;
    std::string why;
  };
  /// Pods of this node with an address of which no attachment is known.
  std::vector<Unmanaged> unmanaged() const;

 private:
  struct Local {
    api::Pod object;                   // as the source gave it
    std::vector<net::IpAddr> given;    // the addresses that the compiler was told
    std::vector<net::IpAddr> retired;  // of its sandboxes that were removed: its status may go on naming them
  };
  using Locals = std::map<PodName, Local>;

  store::Event take(api::Pod pod);
  std::vector<net::IpAddr> addresses_of(const PodName& name, const Local& local) const;
  void retire(const Attachment& gone);
  void give(Local& local, std::vector<net::IpAddr> addresses);
  void forget(Locals::iterator at);
  Events refresh(const std::vector<const Attachment*>& changed);

  std::string node_;
  const Attachments& attachments_;
  Locals locals_;
  std::vector<net::IpAddr> lost_;
};

}  // namespace podfence::sandbox
