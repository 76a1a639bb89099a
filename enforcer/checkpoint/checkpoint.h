#pragma once
// The last good world of this node's agent, in one file that outlives a reboot, and beside the agent's socket, where
// nothing does, a mark that says whether the kernel may hold more than that file.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "policy/archive/archive.h"

namespace podfence::checkpoint {

class File {
 public:
  explicit File(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }

  struct Head {
    archive::Origin origin;
    std::uint64_t content = 0;  // see Encoder::Bytes
    std::size_t bytes = 0;
  };
  /// not_found when there is none. Nothing is taken from one that is damaged, or of another node's agent.
  Result<Head> load(const std::string& node, const std::function<void(api::Object)>& take) const;

  /// On the disk when it returns: a reader finds this one or the one before, whatever happens meanwhile.
  Result<> save(std::string_view bytes) const;

 private:
  std::string path_;
};

/// Says that what the kernel enforces is the content of the checkpoint, or older. It lives as long as the kernel's
/// table at most. Without it a start from the checkpoint could open again what was closed since.
class Mark {
 public:
  explicit Mark(std::string directory) : directory_(std::move(directory)) {}

  bool covers(std::uint64_t content) const;
  Result<> put(std::uint64_t content) const;
  Result<> drop() const;

 private:
  std::string directory_;
};

/// Of this boot of the kernel; empty when it does not say.
std::string boot_id();

}  // namespace podfence::checkpoint
