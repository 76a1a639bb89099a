#pragma once
// Stores what the objects of one reading have in common once: labels, selectors, the names of namespaces, nodes and
// workloads. So the copies that decoding makes are gone at once, and do not lie between the objects that stay.
#include <set>
#include <unordered_set>

#include "policy/api/objects.h"

namespace podfence::api {

class Pool {
 public:
  void share(Namespace& object) { share(object.meta.labels); }
  void share(Node& object) { share(object.meta.labels); }
  void share(Pod& object);
  void share(NetworkPolicy& object);

 private:
  template <class T>
  using Lists = std::set<SharedList<T>>;
  using Label = std::pair<std::string, std::string>;

  void share(Text& text);
  void share(Labels& labels);
  void share(LabelSelector& selector);
  void share(std::vector<PolicyRule>& rules);

  std::unordered_set<Text> texts_;
  Lists<Label> labels_;
  Lists<ContainerPort> ports_;
  Lists<Requirement> requirements_;
};

}  // namespace podfence::api
