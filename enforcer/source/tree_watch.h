#pragma once
// inotify on a tree of directories, as one question: may something have changed?
#include <string>

#include "policy/base/result.h"

namespace podfence::source {

class TreeWatch {
 public:
  static Result<TreeWatch> open();
  TreeWatch(TreeWatch&& other) noexcept;
  TreeWatch& operator=(TreeWatch&& other) noexcept;
  ~TreeWatch();

  int fd() const { return fd_; }

  /// Watches a directory, not what is below it. Watching it again costs nothing, and is what follows one that was
  /// replaced by another of the same name. False when it is not there.
  bool watch(const std::string& directory);

  /// Empties the queue. True when there was anything in it, lost notifications included.
  bool drain();

 private:
  explicit TreeWatch(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace podfence::source
