#include "enforcer/sink/syslog.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/datagram_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <charconv>

#include "enforcer/flow/fields.h"
#include "enforcer/flow/format.h"
#include "enforcer/flow/history.h"

namespace podfence::sink {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using Udp = asio::ip::udp;
using Local = asio::local::datagram_protocol;

constexpr std::chrono::seconds deadline{10};
constexpr int facility = 16;  // local0

/// RFC 5424, 6.2.1.
int severity_of(const flow::LoggedLine& line) {
  constexpr int critical = 2;
  constexpr int error = 3;
  constexpr int warning = 4;
  constexpr int informational = 6;
  if (line.type == "agent") return informational;
  if (line.type != "detection") return warning;
  return line.severity == "critical" ? critical : line.severity == "high" ? error : warning;
}

/// As a header field: printable ASCII without spaces.
std::string header_field(std::string_view text, std::size_t most) {
  std::string out;
  for (const char c : text.substr(0, most)) out += c > ' ' && c < 0x7f ? c : '?';
  return out.empty() ? "-" : out;
}

/// Sends each text as a datagram on a connected socket that does not block.
template <class Socket>
Outcome send_datagrams(Socket& socket, const std::vector<std::string>& texts, std::size_t longest) {
  Outcome outcome;
  for (const auto& text : texts) {
    if (text.size() > longest) {
      ++outcome.rejected;
      outcome.error = "a record is longer than " + std::to_string(longest) + " bytes";
      continue;
    }
    error_code ec;
    socket.send(asio::buffer(text), 0, ec);
    if (ec) return {.kind = Outcome::Kind::retry, .error = ec.message()};
  }
  return outcome;
}

}  // namespace

Result<SyslogTarget> parse_syslog_target(std::string_view text) {
  const auto refused = [&] {
    return fail(Errc::invalid,
                "syslog '" + std::string(text) + "': expected udp://HOST[:PORT], tcp://HOST[:PORT] or unix:/PATH");
  };
  SyslogTarget target;
  auto rest = text;
  if (rest.starts_with("unix:/")) {
    target.transport = SyslogTarget::Transport::local;
    target.path = rest.substr(5);
    if (target.path.size() > 107 || target.path.find('\0') != std::string::npos) return refused();
    return target;
  }
  if (rest.starts_with("tcp://")) {
    target.transport = SyslogTarget::Transport::tcp;
  } else if (!rest.starts_with("udp://")) {
    return refused();
  }
  rest.remove_prefix(6);
  target.port = target.transport == SyslogTarget::Transport::tcp ? "601" : "514";
  const auto bracket = rest.find(']');
  const auto colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    target.port = rest.substr(colon + 1);
    unsigned short number = 0;
    const auto* end = target.port.data() + target.port.size();
    const auto read = std::from_chars(target.port.data(), end, number);
    if (read.ec != std::errc() || read.ptr != end || number == 0) return refused();
    rest = rest.substr(0, colon);
  }
  if (bracket != std::string_view::npos) {
    if (rest.size() < 3 || rest.front() != '[' || rest.back() != ']') return refused();
    rest = rest.substr(1, rest.size() - 2);
  }
  for (const char c : rest) {
    if (c <= ' ' || c >= 0x7f || c == '/') return refused();
  }
  if (rest.empty()) return refused();
  target.host = rest;
  return target;
}

std::string syslog_message(std::string_view node, std::string_view line) {
  flow::LineParser parser;
  const auto parsed = parser.parse(line);
  const auto record = parsed ? *parsed : flow::LoggedLine{};
  const int priority = facility * 8 + severity_of(record);
  const auto time = parsed ? flow::text_of(record.time) : std::string("-");
  return "<" + std::to_string(priority) + ">1 " + time + " " + header_field(node, 255) + " podfence - " +
         header_field(record.type, 32) + " - " + std::string(line);
}

/// A batch over TCP on a connection of its own. An honest other end closes it when it has read all, and then the batch
/// is taken; one that closes it in peace before it has read is believed, for syslog has no acknowledgement.
class SyslogSink::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::io_context& io, std::string bytes, Done done)
      : resolver_(io), stream_(io), bytes_(std::move(bytes)), done_(std::move(done)) {}

  void start(const SyslogTarget& target) {
    resolver_.async_resolve(target.host, target.port,
                            [self = shared_from_this()](error_code ec, const Tcp::resolver::results_type& all) {
                              if (ec) return self->failed(ec);
                              self->connect(all);
                            });
  }

 private:
  void connect(const Tcp::resolver::results_type& all) {
    stream_.expires_after(deadline);
    stream_.async_connect(all, [self = shared_from_this()](error_code ec, const Tcp::endpoint&) {
      if (ec) return self->failed(ec);
      asio::async_write(self->stream_, asio::buffer(self->bytes_), [self](error_code failure, std::size_t) {
        if (failure) return self->failed(failure);
        self->finish();
      });
    });
  }

  void finish() {
    error_code ec;
    stream_.socket().shutdown(Tcp::socket::shutdown_send, ec);
    if (ec) return failed(ec);
    stream_.async_read_some(asio::buffer(&byte_, 1), [self = shared_from_this()](error_code end, std::size_t) {
      if (end != asio::error::eof) return self->failed(end ? end : asio::error::connection_aborted);
      self->done_({});
    });
  }

  void failed(error_code ec) { done_({.kind = Outcome::Kind::retry, .error = ec.message()}); }

  Tcp::resolver resolver_;
  beast::tcp_stream stream_;
  std::string bytes_;
  char byte_ = 0;
  Done done_;
};

SyslogSink::SyslogSink(asio::io_context& io, SyslogTarget target, std::string node)
    : io_(io), target_(std::move(target)), node_(std::move(node)) {}
SyslogSink::~SyslogSink() = default;

void SyslogSink::send(const std::vector<std::string>& lines, Done done) {
  std::vector<std::string> messages;
  messages.reserve(lines.size());
  for (const auto& line : lines) messages.push_back(syslog_message(node_, line));
  if (target_.transport == SyslogTarget::Transport::tcp) {
    std::string bytes;
    for (const auto& message : messages) bytes += std::to_string(message.size()) + " " + message;
    return std::make_shared<Connection>(io_, std::move(bytes), std::move(done))->start(target_);
  }
  if (target_.transport == SyslogTarget::Transport::local) {
    Local::socket socket(io_);
    error_code ec;
    socket.connect(Local::endpoint(target_.path), ec);
    if (!ec) socket.non_blocking(true, ec);
    auto outcome = ec ? Outcome{.kind = Outcome::Kind::retry, .error = target_.path + ": " + ec.message()}
                      : send_datagrams(socket, messages, longest_datagram);
    return asio::post(io_, [done = std::move(done), outcome] { done(outcome); });
  }
  auto resolver = std::make_shared<Udp::resolver>(io_);
  resolver->async_resolve(target_.host, target_.port,
                          [resolver, messages = std::move(messages), done = std::move(done)](
                              error_code ec, const Udp::resolver::results_type& all) {
                            if (ec) return done({.kind = Outcome::Kind::retry, .error = ec.message()});
                            Udp::socket socket(resolver->get_executor());
                            asio::connect(socket, all, ec);
                            if (!ec) socket.non_blocking(true, ec);
                            if (ec) return done({.kind = Outcome::Kind::retry, .error = ec.message()});
                            done(send_datagrams(socket, messages, longest_datagram));
                          });
}

std::string journal_entry(std::string_view line) {
  flow::LineParser parser;
  const auto parsed = parser.parse(line);
  std::string out;
  const auto field = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) out.append(name).append("=").append(value) += '\n';
  };
  field("MESSAGE", parsed ? flow::text_line(*parsed) : "a record that cannot be read");
  field("PRIORITY", std::to_string(parsed ? severity_of(*parsed) : 4));
  field("SYSLOG_IDENTIFIER", "podfence-flows");
  field("PODFENCE_RECORD", line);
  if (!parsed) return out;
  // The journal keeps a field as it is, and who prints one prints that.
  const auto name = [&](std::string_view key, std::string_view value) { field(key, flow::printable(value)); };
  name("PODFENCE_TYPE", parsed->type);
  name("PODFENCE_VERDICT", parsed->verdict);
  name("PODFENCE_REASON", parsed->reason);
  name("PODFENCE_SOURCE_NAMESPACE", parsed->source.k8s.namespace_);
  name("PODFENCE_SOURCE_POD", parsed->source.k8s.pod);
  name("PODFENCE_DESTINATION_NAMESPACE", parsed->destination.k8s.namespace_);
  name("PODFENCE_DESTINATION_POD", parsed->destination.k8s.pod);
  return out;
}

void JournaldSink::send(const std::vector<std::string>& lines, Done done) {
  constexpr std::size_t longest_entry = 128 * 1024;  // what fits into a socket's buffer; a line has 16 KiB
  std::vector<std::string> entries;
  entries.reserve(lines.size());
  for (const auto& line : lines) entries.push_back(journal_entry(line));
  Local::socket socket(io_);
  error_code ec;
  socket.connect(Local::endpoint(socket_), ec);
  if (!ec) socket.non_blocking(true, ec);
  auto outcome = ec ? Outcome{.kind = Outcome::Kind::retry, .error = socket_ + ": " + ec.message()}
                    : send_datagrams(socket, entries, longest_entry);
  asio::post(io_, [done = std::move(done), outcome] { done(outcome); });
}

}  // namespace podfence::sink
