#include "enforcer/source/claims.h"

#include <algorithm>

namespace podfence::source {
namespace {

std::uint32_t hash_of(std::string_view key) {
  return static_cast<std::uint32_t>(std::hash<std::string_view>{}(key));
}

}  // namespace

Text packed(const api::ObjectKey& key) {
  std::string out(1, static_cast<char>('0' + static_cast<int>(key.kind)));
  return out.append(key.namespace_).append("/").append(key.name);
}

api::ObjectKey unpacked(std::string_view key) {
  const auto slash = key.find('/');
  return {static_cast<api::Kind>(key.front() - '0'), std::string(key.substr(1, slash - 1)),
          std::string(key.substr(slash + 1))};
}

const Claims::Slot* Claims::find(const File& file, std::string_view key) {
  const auto at = std::lower_bound(file.slots.begin(), file.slots.end(), key,
                                   [&](const Slot& slot, std::string_view k) { return file.key(slot) < k; });
  return at != file.slots.end() && file.key(*at) == key ? &*at : nullptr;
}

template <class F>
void Claims::each_with(std::string_view key, const F& visit) const {
  const std::uint32_t hash = hash_of(key);
  holders_.for_each_near(hash, [&](const Holder& holder) {
    if (holder.key_hash != hash) return;
    if (const Slot* slot = find(*holder.file, key)) visit(*holder.file, *slot);
  });
}

void Claims::touch(const Text& key) {
  const auto placed = before_.try_emplace(key);
  if (!placed.second) return;
  auto& before = placed.first->second;
  const File* first = nullptr;
  each_with(key, [&](File& file, const Slot& slot) {
    if (first != nullptr && first->path <= file.path) return;
    first = &file;
    before = slot.fingerprint;
  });
}

void Claims::drop(File& file) {
  for (const Slot& slot : file.slots) {
    const std::uint32_t hash = hash_of(file.key(slot));
    holders_.erase(
        holders_.find(hash, [&](const Holder& holder) { return holder.file == &file && holder.key_hash == hash; }));
  }
  file.slots.clear();
  file.keys.clear();
  file.lost.clear();
}

void Claims::replace(const std::string& path, const std::vector<Claim>& claims) {
  const auto known = files_.find(path);
  if (known != files_.end()) {
    for (const Slot& slot : known->second.slots) touch(known->second.key(slot));
    drop(known->second);
  }
  for (const Claim& claim : claims) touch(claim.key);
  if (claims.empty()) {
    files_.erase(path);
    return;
  }
  File& file = files_[path];
  file.path = path;
  for (const Claim& claim : claims) {
    file.slots.push_back({static_cast<std::uint32_t>(file.keys.size()), static_cast<std::uint32_t>(claim.key.size()),
                          claim.fingerprint});
    file.keys += claim.key.view();
    holders_.insert({&file, hash_of(claim.key)});
  }
  file.keys.shrink_to_fit();
  file.slots.shrink_to_fit();
}

const Claims::File* Claims::decide(const Text& key) {
  File* first = nullptr;
  each_with(key, [&](File& file, const Slot&) {
    if (first == nullptr || file.path < first->path) first = &file;
  });
  each_with(key, [&](File& file, const Slot&) {
    if (&file == first) {
      file.lost.erase(key);
    } else {
      file.lost.insert(key);
    }
  });
  return first;
}

std::vector<Claims::Outcome> Claims::settle() {
  std::vector<Outcome> out;
  for (const auto& [key, before] : before_) {
    const File* file = decide(key);
    if (file == nullptr) {
      if (before) out.push_back({key, "", 0});
    } else if (const Slot* slot = find(*file, key); before != slot->fingerprint) {
      out.push_back({key, file->path, slot->fingerprint});
    }
  }
  before_.clear();
  return out;
}

void Claims::forget_fingerprint(const std::string& path, std::string_view key) {
  const auto file = files_.find(path);
  if (file == files_.end()) return;
  for (Slot& slot : file->second.slots) {
    if (file->second.key(slot) == key) slot.fingerprint = 0;
  }
}

std::size_t Claims::count(const std::string& path) const {
  const auto file = files_.find(path);
  return file == files_.end() ? 0 : file->second.slots.size();
}

const std::set<Text>& Claims::lost(const std::string& path) const {
  static const std::set<Text> none;
  const auto file = files_.find(path);
  return file == files_.end() ? none : file->second.lost;
}

std::optional<std::string> Claims::winner(std::string_view key) const {
  std::optional<std::string> out;
  each_with(key, [&](const File& file, const Slot&) {
    if (!out || file.path < *out) out = file.path;
  });
  return out;
}

}  // namespace podfence::source
