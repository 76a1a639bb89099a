#pragma once
// What the configuration's files hold, read again as time goes by: tokens within a minute, certificates every 30 s. A
// file that cannot be read, or is empty, leaves in force what it held last.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "enforcer/kubeconfig/client_config.h"

namespace podfence::kubeconfig {

class Credentials {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Reads everything once.
  static Result<Credentials> open(ClientConfig config, Time now);

  const ClientConfig& config() const { return config_; }

  /// The value of the header Authorization; "" = none.
  std::string authorization(Time now);
  /// The server refused what a request had that was sent at that time.
  void refused(Time sent);

  struct Tls {
    std::string ca;
    std::string certificate;
    std::string key;
    friend bool operator==(const Tls&, const Tls&) = default;
  };
  const Tls& tls(Time now);

  /// Why something could not be read again; empty when all is well.
  const std::string& problem() const { return problem_; }

 private:
  explicit Credentials(ClientConfig config) : config_(std::move(config)) {}
  Result<> read_token(Time now);
  Result<> read_tls(Time now);

  ClientConfig config_;
  std::string token_;
  Time token_read_;
  bool token_refused_ = false;
  Tls tls_;
  Time tls_read_;
  std::string problem_;
};

}  // namespace podfence::kubeconfig
