#pragma once
// What the agent must find again after a restart: the attachments, one file each, and the plugin's journal of what it
// could not tell because the agent was away.
#include <string>
#include <vector>

#include "enforcer/sandbox/attachment.h"

namespace podfence::sandbox {

/// `<state_dir>/attachments/<container_id>@<ifname>.json`
class AttachmentFiles {
 public:
  static Result<AttachmentFiles> open(const std::string& state_dir);

  struct Loaded {
    std::vector<Attachment> attachments;
    std::vector<std::string> problems;  // files that could not be read, and why; they are left alone
  };
  Loaded load() const;
  Result<> save(const Attachment& attachment) const;
  Result<> erase(const Key& key) const;

 private:
  explicit AttachmentFiles(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

/// `<state_dir>/cni-journal/<container_id>@<ifname>`: one request in each, written by the plugin.
class JournalFiles {
 public:
  explicit JournalFiles(const std::string& state_dir) : directory_(state_dir + "/cni-journal") {}

  struct Entry {
    Key key;
    std::string line;
  };
  struct Read {
    std::vector<Entry> entries;
    std::vector<std::string> problems;
  };
  /// Cheap when there is nothing.
  Read read() const;
  /// Unless the plugin has written another one meanwhile.
  void erase(const Entry& entry) const;
  void erase(const Key& key) const;

 private:
  std::string directory_;
};

}  // namespace podfence::sandbox
