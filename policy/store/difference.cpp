#include "policy/store/difference.h"

namespace podfence::store {
namespace {

/// Two maps of the same order, side by side.
template <class Map>
void compare(const Map& from, const Map& to, std::vector<Event>& events) {
  auto old = from.begin();
  const auto gone = [&] { events.emplace_back(Remove{api::key_of(api::Object(old->second)), ""}); };
  for (const auto& [key, object] : to) {
    for (; old != from.end() && old->first < key; ++old) gone();
    const bool known = old != from.end() && old->first == key;
    if (!known || old->second != object) events.emplace_back(Upsert{object});
    if (known) ++old;
  }
  for (; old != from.end(); ++old) gone();
}

}  // namespace

std::vector<Event> difference(const Cluster& from, const Cluster& to) {
  std::vector<Event> events;
  compare(from.namespaces(), to.namespaces(), events);
  compare(from.nodes(), to.nodes(), events);
  compare(from.pods(), to.pods(), events);
  compare(from.policies(), to.policies(), events);
  return events;
}

}  // namespace podfence::store
