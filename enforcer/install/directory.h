#pragma once
// A directory that a runtime watches. Files come into it whole or not at all, even if the machine or this program stops
// at any instant: a temporary file in the same directory (one that comes from elsewhere is never noticed by
// containerd), synced, renamed, the directory synced. All of it is relative to one descriptor.
#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "policy/base/result.h"

namespace podfence::install {

/// Closes what it holds.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// "PATH: No space left on device", with the code that fits errno.
Error system_error(const std::string& path);

class Directory {
 public:
  static Result<Directory> open(const std::string& path);

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  /// Held until it goes out of scope or the process ends: of all installers one at a time works on this directory.
  Result<Descriptor> lock(std::chrono::milliseconds deadline) const;

  /// Names of everything in it but directories, sorted bytewise as runtimes do.
  Result<std::vector<std::string>> files() const;
  Result<std::vector<std::string>> directories() const;

  struct Read {
    std::string bytes;
    bool is_link = false;
    double age_seconds = 0;  // since it was last written
  };
  /// A regular file, or one that a symbolic link leads to, of at most 1 MiB.
  Result<Read> read(const std::string& name) const;

  /// The file is there with these bytes, or is what it was. It keeps mode, owner and security label of the one that it
  /// replaces; a new one is root's with `new_mode`. Of a file that others write too, say what it held (`expected`):
  /// when it holds something else by now, it is left alone (busy).
  Result<> write(const std::string& name, std::string_view bytes, mode_t new_mode,
                 const std::string* expected = nullptr) const;

  /// Fine when there is none.
  Result<> remove(const std::string& name) const;

  /// Makes containerd read the directory again: it looks at writes, and not at what is only created.
  Result<> nudge() const;

  /// What an installer left behind that was killed; only under the lock.
  void remove_leftovers() const;

 private:
  Directory(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  Descriptor fd_;
};

/// Whether a name is that of a file which is on its way, or was when an installer was killed.
bool is_temporary(std::string_view name);

/// Two steps of write(), for a file that is filled in between: the binary.
struct Temporary {
  std::string name;
  Descriptor fd;
};
Result<Temporary> make_temporary(const Directory& in, const std::string& target);
Result<> write_all(int fd, std::string_view bytes, const std::string& path);
/// Gives it its name, for good. What it holds must have been synced.
Result<> put_in_place(const Directory& in, const Temporary& temporary, const std::string& target);

}  // namespace podfence::install
