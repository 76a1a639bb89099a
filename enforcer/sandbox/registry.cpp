#include "enforcer/sandbox/registry.h"

#include <net/if.h>

#include <algorithm>

#include "enforcer/files/files.h"
#include "enforcer/sandbox/result_cache.h"

namespace podfence::sandbox {
namespace {

unsigned index_of_interface(const std::string& name) {
  return name.empty() ? 0 : ::if_nametoindex(name.c_str());
}

}  // namespace

bool is_gone(const Attachment& attachment) {
  const bool has_netns = !attachment.netns.empty() && files::exists(attachment.netns);
  return !has_netns && index_of_interface(attachment.host_interface) == 0;
}

Registry::Registry(AttachmentFiles files, const Settings& settings)
    : files_(std::move(files)), journal_(settings.state_dir), join_(settings.node, attachments_) {}

Result<std::unique_ptr<Registry>> Registry::open(const Settings& settings) {
  auto files = AttachmentFiles::open(settings.state_dir);
  if (!files) return fail(std::move(files.error()).in("attachments"));
  std::unique_ptr<Registry> registry(new Registry(std::move(*files), settings));
  registry->find_again();
  if (!settings.results_dir.empty()) registry->adopt(settings.results_dir);
  return registry;
}

void Registry::find_again() {
  auto loaded = files_.load();
  problems_ = std::move(loaded.problems);
  for (auto& attachment : loaded.attachments) {
    if (!is_gone(attachment)) {
      attachments_.put(std::move(attachment));
    } else if (auto erased = files_.erase(attachment.key); !erased) {
      problems_.push_back(erased.error().what());
    }
  }
}

/// What was plugged in while no agent was there, by the runtime's own account.
void Registry::adopt(const std::string& results_dir) {
  auto cached = read_result_cache(results_dir);
  problems_.insert(problems_.end(), cached.problems.begin(), cached.problems.end());
  for (auto& attachment : cached.attachments) {
    if (attachments_.find(attachment.key) != nullptr || is_gone(attachment)) continue;
    attachment.host_ifindex = index_of_interface(attachment.host_interface);
    if (auto added = add(std::move(attachment)); !added) problems_.push_back(added.error().what());
  }
}

Result<Registry::Events> Registry::add(Attachment attachment) {
  if (auto valid = validate(attachment.key); !valid) return fail(valid.error());
  attachment.sequence = attachments_.next_sequence();
  if (auto saved = files_.save(attachment); !saved) return fail(saved.error());
  const auto key = attachment.key;
  const auto replaced = attachments_.put(std::move(attachment));
  return join_.added(*attachments_.find(key), replaced);
}

Registry::Removed Registry::remove(const Key& key) {
  Removed removed;
  if (auto valid = validate(key); !valid) return removed;  // such a one cannot be known
  removed.fault = files_.erase(key);
  if (const auto gone = attachments_.remove(key)) removed.events = join_.removed(*gone);
  return removed;
}

std::vector<Key> Registry::invalid(const std::string& network, const std::vector<Key>& valid) const {
  std::vector<Key> found;
  for (const auto& [key, attachment] : attachments_.all()) {
    if (attachment.network == network && std::find(valid.begin(), valid.end(), key) == valid.end()) {
      found.push_back(key);
    }
  }
  return found;
}

}  // namespace podfence::sandbox
