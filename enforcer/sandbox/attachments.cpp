#include "enforcer/sandbox/attachments.h"

#include <algorithm>

namespace podfence::sandbox {
namespace {

template <class Index, class IndexKey>
void drop(Index& index, const IndexKey& key, const Attachment* attachment) {
  const auto [first, last] = index.equal_range(key);
  const auto at = std::find_if(first, last, [&](const auto& entry) { return entry.second == attachment; });
  if (at != last) index.erase(at);
}

}  // namespace

std::optional<Attachment> Attachments::put(Attachment attachment) {
  auto before = remove(attachment.key);
  last_sequence_ = std::max(last_sequence_, attachment.sequence);
  const auto at = all_.emplace(attachment.key, std::move(attachment)).first;
  for (const auto& ip : at->second.addresses) by_ip_.emplace(ip, &at->second);
  if (names_pod(at->second)) by_pod_.emplace(PodName(at->second.pod_namespace, at->second.pod_name), &at->second);
  return before;
}

std::optional<Attachment> Attachments::remove(const Key& key) {
  const auto at = all_.find(key);
  if (at == all_.end()) return std::nullopt;
  for (const auto& ip : at->second.addresses) drop(by_ip_, ip, &at->second);
  drop(by_pod_, PodName(at->second.pod_namespace, at->second.pod_name), &at->second);
  auto removed = std::move(at->second);
  all_.erase(at);
  return removed;
}

const Attachment* Attachments::find(const Key& key) const {
  const auto at = all_.find(key);
  return at == all_.end() ? nullptr : &at->second;
}

const Attachment* Attachments::claimant(const net::IpAddr& ip) const {
  const Attachment* latest = nullptr;
  const auto [first, last] = by_ip_.equal_range(ip);
  for (auto at = first; at != last; ++at) {
    if (latest == nullptr || at->second->sequence > latest->sequence) latest = at->second;
  }
  return latest;
}

std::vector<const Attachment*> Attachments::of_pod(const PodName& name) const {
  std::vector<const Attachment*> found;
  const auto [first, last] = by_pod_.equal_range(name);
  for (auto at = first; at != last; ++at) found.push_back(at->second);
  std::sort(found.begin(), found.end(), [](const auto* a, const auto* b) { return a->sequence < b->sequence; });
  return found;
}

std::vector<net::IpAddr> Attachments::addresses() const {
  std::vector<net::IpAddr> addresses;
  for (const auto& [key, attachment] : all_) {
    addresses.insert(addresses.end(), attachment.addresses.begin(), attachment.addresses.end());
  }
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

}  // namespace podfence::sandbox
