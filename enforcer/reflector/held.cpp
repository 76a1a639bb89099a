#include "enforcer/reflector/held.h"

#include "enforcer/reflector/revision.h"

namespace podfence::reflector {
namespace {

constexpr std::size_t most_problems = 1000;
constexpr std::size_t most_messages = 20;

std::uint64_t hash_of(std::string_view text) {
  return std::hash<std::string_view>{}(text);
}

std::vector<std::string> errors_of(const api::Decoded& decoded) {
  std::vector<std::string> messages;
  for (const auto& diagnostic : decoded.diagnostics) {
    if (diagnostic.severity != api::Severity::error || messages.size() >= most_messages) continue;
    messages.push_back(diagnostic.path.empty() ? diagnostic.message : diagnostic.path + ": " + diagnostic.message);
  }
  return messages;
}

}  // namespace

Held::Entry Held::entry_of(const api::ItemHead& head) const {
  Entry entry;
  entry.key = head.namespace_ + "/" + head.name;
  entry.key_hash = static_cast<std::uint32_t>(hash_of(entry.key));
  entry.uid = hash_of(head.uid);
  entry.version = reflector::version_of(head.resource_version);
  entry.round = round_;
  return entry;
}

Held::Entry* Held::find(const Entry& wanted) {
  return entries_.find(wanted.key_hash, [&](const Entry& e) { return e.key == wanted.key; });
}

std::optional<std::uint64_t> Held::version_of(const api::ObjectKey& key) const {
  const std::string text = key.namespace_ + "/" + key.name;
  const Entry* held =
      entries_.find(static_cast<std::uint32_t>(hash_of(text)), [&](const Entry& e) { return e.key == text; });
  return held == nullptr ? std::nullopt : std::optional(held->version);
}

void Held::for_each(const std::function<void(const api::ObjectKey& key, std::uint64_t version)>& visit) const {
  entries_.for_each([&](const Entry& entry) { visit(object_key(entry.key), entry.version); });
}

api::ObjectKey Held::object_key(const Text& key) const {
  const auto slash = key.view().find('/');
  return {kind_, std::string(key.view().substr(0, slash)), std::string(key.view().substr(slash + 1))};
}

/// The same version of the same object has the same content.
bool Held::is_known(const Entry& entry) {
  const Entry* held = find(entry);
  return held != nullptr && held->uid == entry.uid && held->version == entry.version;
}

/// As with manifests: what has errors leaves in force what was good last of this object, or its narrow reading.
Held::News Held::read(const Entry& entry) {
  auto decoded = decoder_.read();
  News news;
  news.entry = entry;
  const bool bad = decoded.has_errors() || decoded.objects.empty();
  const Entry* held = find(entry);
  const bool keeps = bad && held != nullptr && held->good && held->uid == entry.uid;
  news.entry.good = !bad || keeps;
  if (bad) news.problem = std::make_unique<Problem>(Problem{keeps, errors_of(decoded)});
  if (!keeps && !decoded.objects.empty()) news.object = std::move(decoded.objects.front());
  return news;
}

void Held::apply(News news, std::vector<store::Event>& events) {
  const auto name = object_key(news.entry.key).text();
  if (!news.problem) problems_.erase(name);
  if (news.problem && (problems_.contains(name) || problems_.size() < most_problems)) {
    problems_[name] = std::move(*news.problem);
  }
  if (Entry* held = find(news.entry)) {
    news.entry.key = held->key;
    *held = news.entry;
  } else {
    entries_.insert(news.entry);
  }
  if (news.object) events.emplace_back(store::Upsert{std::move(*news.object)});
}

std::vector<store::Event> Held::put(const api::ItemHead& head) {
  const Entry entry = entry_of(head);
  std::vector<store::Event> events;
  if (!is_known(entry)) apply(read(entry), events);
  decoder_.end_of_list();
  return events;
}

/// A late end of an object that came again under its name takes nothing away.
std::vector<store::Event> Held::remove(const api::ItemHead& head) {
  const Entry entry = entry_of(head);
  const Entry* held = find(entry);
  if (held == nullptr || (!head.uid.empty() && held->uid != entry.uid)) return {};
  problems_.erase(object_key(entry.key).text());
  std::vector<store::Event> events;
  events.emplace_back(store::Remove{object_key(entry.key), head.uid});
  entries_.erase(held);
  return events;
}

void Held::begin_list() {
  ++round_;
  staged_.clear();
  decoder_.end_of_list();
}

void Held::stage(const api::ItemHead& head, const std::string& cursor) {
  const Entry entry = entry_of(head);
  if (is_known(entry)) {
    find(entry)->round = round_;
    return;
  }
  staged_.push_back(read(entry));
  staged_.back().old = !cursor.empty() && compare_revisions(head.resource_version, cursor) <= 0;
}

Held::Difference Held::end_list() {
  Difference difference;
  difference.changed = staged_.size();
  difference.events.reserve(staged_.size());
  for (; !staged_.empty(); staged_.pop_front()) {
    if (staged_.front().old) ++difference.old_news;
    apply(std::move(staged_.front()), difference.events);
  }
  begin_list();
  const auto listed = round_ - 1;
  std::vector<Text> gone;
  entries_.for_each([&](const Entry& entry) {
    if (entry.round != listed) gone.push_back(entry.key);
  });
  difference.gone = gone.size();
  for (const auto& key : gone) {
    Entry wanted;
    wanted.key = key;
    wanted.key_hash = static_cast<std::uint32_t>(hash_of(key));
    problems_.erase(object_key(key).text());
    entries_.erase(find(wanted));
    difference.events.emplace_back(store::Remove{object_key(key), ""});
  }
  return difference;
}

}  // namespace podfence::reflector
