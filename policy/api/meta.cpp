#include "policy/api/meta.h"

#include <algorithm>

namespace podfence::api {

std::optional<std::string_view> find_label(const Labels& labels, std::string_view key) {
  const auto at = std::lower_bound(labels.begin(), labels.end(), key,
                                   [](const auto& label, std::string_view k) { return label.first < k; });
  if (at == labels.end() || at->first != key) return std::nullopt;
  return at->second;
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::namespace_:
      return "Namespace";
    case Kind::node:
      return "Node";
    case Kind::pod:
      return "Pod";
    case Kind::network_policy:
      return "NetworkPolicy";
  }
  return "Object";
}

std::string ObjectKey::text() const {
  std::string out(name_of(kind));
  out += ' ';
  if (!namespace_.empty()) {
    out += namespace_;
    out += '/';
  }
  out += name;
  return out;
}

}  // namespace podfence::api
