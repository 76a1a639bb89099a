#pragma once
// RFC 5424 over UDP (RFC 5426), TCP with octet counting (RFC 6587) or a local datagram socket. One message is one
// record, as JSON: "<132>1 TIME NODE podfence - flow - {...}". There is no acknowledgement: over UDP and a local socket
// what the kernel took counts as taken, over TCP what was sent when the other end closed the connection in peace. A
// datagram that is longer than 8 KiB is refused and counted: cut, it would be no JSON.
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "enforcer/sink/sink.h"
#include "policy/base/result.h"

namespace podfence::sink {

struct SyslogTarget {
  enum class Transport : std::uint8_t { udp, tcp, local };
  Transport transport = Transport::udp;
  std::string host;
  std::string port;
  std::string path;  // of local
};

/// "udp://HOST[:514]", "tcp://HOST[:601]", "unix:/PATH".
Result<SyslogTarget> parse_syslog_target(std::string_view text);

/// One message, without framing. `line` is a record of the flow log; the header's time and type come from it.
std::string syslog_message(std::string_view node, std::string_view line);

class SyslogSink final : public Sink {
 public:
  static constexpr std::size_t longest_datagram = 8192;

  SyslogSink(boost::asio::io_context& io, SyslogTarget target, std::string node);
  ~SyslogSink() override;
  std::string_view name() const override { return "syslog"; }
  void send(const std::vector<std::string>& lines, Done done) override;

 private:
  class Connection;
  boost::asio::io_context& io_;
  SyslogTarget target_;
  std::string node_;
};

/// journald's native protocol: MESSAGE is the line for people, PODFENCE_RECORD the record, other fields to filter by.
std::string journal_entry(std::string_view line);

class JournaldSink final : public Sink {
 public:
  explicit JournaldSink(boost::asio::io_context& io, std::string socket = "/run/systemd/journal/socket")
      : io_(io), socket_(std::move(socket)) {}
  std::string_view name() const override { return "journald"; }
  void send(const std::vector<std::string>& lines, Done done) override;

 private:
  boost::asio::io_context& io_;
  std::string socket_;
};

}  // namespace podfence::sink
