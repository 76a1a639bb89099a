#pragma once
// OTLP/HTTP logs: POST URL with an ExportLogsServiceRequest as JSON, gzip (OpenTelemetry protocol specification 1.x,
// section "OTLP/HTTP"). 429, 502, 503 and 504 are tried again, after Retry-After where it is given; what a partial
// success rejects is not sent again, and neither is a batch that any other status refuses.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "enforcer/sink/sink.h"
#include "policy/base/result.h"

namespace podfence::sink {

struct Url {
  bool tls = false;
  std::string host;
  std::string port;
  std::string path;
};

/// "http://HOST[:PORT][/PATH]" or https; without a path it is /v1/logs, without a port 4318.
Result<Url> parse_otlp_url(std::string_view text);

struct OtlpSettings {
  Url url;
  std::string ca_file;                                       // of https; empty: the system's
  std::vector<std::pair<std::string, std::string>> headers;  // credentials
  std::string node;
  std::string cluster;
  std::string version;
  std::chrono::seconds deadline{10};  // of each batch
};

/// "Name: value" lines; empty ones and those that begin with # are passed over. Errors name the file and line.
Result<std::vector<std::pair<std::string, std::string>>> read_headers(const std::string& file);

/// An ExportLogsServiceRequest of flow log lines; those that are none of ours are left out.
std::string otlp_json(const OtlpSettings& settings, const std::vector<std::string>& lines);

class OtlpSink final : public Sink {
 public:
  /// An error: the certificates cannot be read.
  static Result<std::unique_ptr<OtlpSink>> open(boost::asio::io_context& io, OtlpSettings settings);
  std::string_view name() const override { return "otlp"; }
  void send(const std::vector<std::string>& lines, Done done) override;

 private:
  OtlpSink(boost::asio::io_context& io, OtlpSettings settings, std::optional<boost::asio::ssl::context> tls)
      : io_(io), settings_(std::move(settings)), tls_(std::move(tls)) {}

  boost::asio::io_context& io_;
  OtlpSettings settings_;
  std::optional<boost::asio::ssl::context> tls_;
};

}  // namespace podfence::sink
