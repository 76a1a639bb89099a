#pragma once
// What every Kubernetes object carries, as far as policy needs it.
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/base/shared_list.h"
#include "policy/base/text.h"

namespace podfence::api {

/// Sorted by key, each key once. A label's value may be empty (conformance L-09).
using Labels = SharedList<std::pair<std::string, std::string>>;

/// The value of a label, or nothing without the key.
std::optional<std::string_view> find_label(const Labels& labels, std::string_view key);

enum class Kind : std::uint8_t { namespace_, node, pod, network_policy };

std::string_view name_of(Kind kind);  // "Namespace", "Node", "Pod", "NetworkPolicy"

/// Identity of an object in the cluster; namespace_ is empty for kinds without one.
struct ObjectKey {
  Kind kind = Kind::pod;
  std::string namespace_;
  std::string name;
  std::string text() const;  // "Pod shop/web"
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

struct ObjectMeta {
  Text namespace_;
  Text name;
  Text uid;
  Labels labels;
  std::int64_t generation = 0;
  std::int64_t created = 0;  // creationTimestamp, seconds since 1970
  bool terminating = false;  // deletionTimestamp is set
  friend bool operator==(const ObjectMeta&, const ObjectMeta&) = default;
};

}  // namespace podfence::api
