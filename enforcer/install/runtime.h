#pragma once
// The port to the container runtime: what it has loaded, not what lies on disk.
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "policy/base/result.h"

namespace podfence::install {

struct LoadedNetwork {
  std::string name;
  std::vector<std::string> types;  // of its plugins, in order
  friend bool operator==(const LoadedNetwork&, const LoadedNetwork&) = default;
};

struct RuntimeStatus {
  bool network_ready = false;
  std::string reason;  // why not
  /// Nothing when the runtime does not tell what it has loaded (CRI-O does not).
  std::optional<std::vector<LoadedNetwork>> networks;
  std::string last_load;  // containerd's lastCNILoadStatus; "OK" when all is well
  /// "HANDLER: DIRECTORY" for each runtime class whose networks lie in a directory of its own.
  std::vector<std::string> other_directories;
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual std::string name() const = 0;
  /// not_found when there is no runtime to ask.
  virtual Result<RuntimeStatus> status() = 0;
};

/// No runtime to ask; every question is answered with this reason.
class NoRuntime : public Runtime {
 public:
  explicit NoRuntime(std::string reason) : reason_(std::move(reason)) {}
  std::string name() const override { return "none"; }
  Result<RuntimeStatus> status() override { return fail(Errc::not_found, reason_); }

 private:
  std::string reason_;
};

}  // namespace podfence::install
