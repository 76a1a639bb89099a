#pragma once
// The container runtime interface: the one question that the installer has, Status with its details.
#include <memory>
#include <string>
#include <string_view>

#include "enforcer/install/runtime.h"

namespace podfence::install {

/// A StatusResponse of runtime.v1. Trusts nothing.
Result<RuntimeStatus> parse_status(std::string_view message);

class CriRuntime : public Runtime {
 public:
  /// Empty: each time the first of the usual sockets that is there, because a runtime may start later than we do.
  explicit CriRuntime(std::string socket) : socket_(std::move(socket)) {}
  std::string name() const override;
  Result<RuntimeStatus> status() override;

 private:
  std::string socket() const;
  std::string socket_;
};

/// "none": asks nobody. Empty: the usual sockets. Else that one.
std::unique_ptr<Runtime> find_runtime(const std::string& cri_socket);

}  // namespace podfence::install
