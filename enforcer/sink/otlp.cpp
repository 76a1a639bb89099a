#include "enforcer/sink/otlp.h"

#include <simdjson.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <charconv>

#include "enforcer/files/files.h"
#include "enforcer/sink/gzip.h"

namespace podfence::sink {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using Tcp = asio::ip::tcp;

constexpr std::size_t longest_answer = 64 * 1024;
constexpr std::size_t longest_headers_file = 64 * 1024;

/// "partialSuccess": {"rejectedLogRecords": "3", "errorMessage": "..."}; a number may be a text or a number.
Outcome partial(std::string_view body) {
  Outcome outcome;
  try {
    simdjson::dom::parser parser;
    const simdjson::dom::element answer = parser.parse(body.data(), body.size());
    const auto rejected = answer["partialSuccess"]["rejectedLogRecords"];
    std::uint64_t number = 0;
    std::string_view text;
    if (rejected.get(number) != simdjson::SUCCESS && rejected.get(text) == simdjson::SUCCESS) {
      std::from_chars(text.data(), text.data() + text.size(), number);
    }
    outcome.rejected = number;
    std::string_view message;
    if (number > 0 && answer["partialSuccess"]["errorMessage"].get(message) == simdjson::SUCCESS) {
      outcome.error = "rejected " + std::to_string(number) + " records: " + std::string(message.substr(0, 200));
    }
  } catch (const simdjson::simdjson_error&) {
    // An empty answer is a whole success.
  }
  return outcome;
}

Outcome judged(const http::response<http::string_body>& response) {
  const auto status = response.result_int();
  if (status / 100 == 2) return partial(response.body());
  Outcome outcome;
  outcome.error = "answered " + std::to_string(status);
  const bool again = status == 429 || status == 502 || status == 503 || status == 504;
  outcome.kind = again ? Outcome::Kind::retry : Outcome::Kind::refused;
  if (const auto pause = response.find(http::field::retry_after); again && pause != response.end()) {
    unsigned seconds = 0;
    const auto text = pause->value();
    if (std::from_chars(text.data(), text.data() + text.size(), seconds).ec == std::errc()) {
      outcome.pause = std::chrono::seconds(std::min(seconds, 3600U));
    }
  }
  return outcome;
}

/// One request: resolve, connect, shake hands, write, read. Its handlers keep it alive.
template <class Stream>
class Exchange : public std::enable_shared_from_this<Exchange<Stream>> {
 public:
  template <class... Args>
  Exchange(asio::io_context& io, const OtlpSettings& settings, std::string body, Sink::Done done, Args&&... stream)
      : settings_(settings), resolver_(io), stream_(io, std::forward<Args>(stream)...), done_(std::move(done)) {
    request_.version(11);
    request_.method(http::verb::post);
    request_.target(settings.url.path);
    const bool v6 = settings.url.host.find(':') != std::string::npos;
    request_.set(http::field::host, (v6 ? "[" + settings.url.host + "]" : settings.url.host) + ":" + settings.url.port);
    request_.set(http::field::user_agent, "podfence/" + settings.version);
    request_.set(http::field::content_type, "application/json");
    request_.set(http::field::content_encoding, "gzip");
    for (const auto& [name, value] : settings.headers) request_.set(name, value);
    request_.body() = std::move(body);
    request_.prepare_payload();
    request_.keep_alive(false);
    parser_.body_limit(longest_answer);
  }

  void start() {
    resolver_.async_resolve(settings_.url.host, settings_.url.port,
                            [self = this->shared_from_this()](beast::error_code ec, Tcp::resolver::results_type all) {
                              if (ec) return self->failed(self->settings_.url.host, ec);
                              self->connect(all);
                            });
  }

 private:
  void connect(const Tcp::resolver::results_type& all) {
    beast::get_lowest_layer(stream_).expires_after(settings_.deadline);
    beast::get_lowest_layer(stream_).async_connect(
        all, [self = this->shared_from_this()](beast::error_code ec, const Tcp::endpoint&) {
          if (ec) return self->failed("connection", ec);
          self->secure();
        });
  }

  void secure() {
    if constexpr (std::is_same_v<Stream, beast::tcp_stream>) {
      write();
    } else {
      std::string host = settings_.url.host;  // what SSL_set_tlsext_host_name does, without its cast
      ::SSL_ctrl(stream_.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data());
      stream_.set_verify_callback(ssl::host_name_verification(settings_.url.host));
      stream_.async_handshake(ssl::stream_base::client, [self = this->shared_from_this()](beast::error_code ec) {
        if (ec) return self->failed("TLS", ec);
        self->write();
      });
    }
  }

  void write() {
    http::async_write(stream_, request_, [self = this->shared_from_this()](beast::error_code ec, std::size_t) {
      if (ec) return self->failed("request", ec);
      http::async_read(self->stream_, self->buffer_, self->parser_, [self](beast::error_code failure, std::size_t) {
        if (failure) return self->failed("answer", failure);
        self->done_(judged(self->parser_.get()));
      });
    });
  }

  void failed(const std::string& what, beast::error_code ec) {
    done_({.kind = Outcome::Kind::retry, .error = what + ": " + ec.message()});
  }

  OtlpSettings settings_;
  Tcp::resolver resolver_;
  Stream stream_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
  Sink::Done done_;
};

}  // namespace

Result<Url> parse_otlp_url(std::string_view text) {
  const auto refused = [&] {
    return fail(Errc::invalid, "otlp '" + std::string(text) + "': expected http://HOST[:PORT][/PATH], or https");
  };
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    url.tls = true;
  } else {
    return refused();
  }
  for (const char c : rest) {
    if (c <= ' ' || c >= 0x7f) return refused();
  }
  const auto slash = rest.find('/');
  url.path = slash == std::string_view::npos || slash + 1 == rest.size() ? "/v1/logs" : std::string(rest.substr(slash));
  auto authority = rest.substr(0, slash);
  if (authority.find('@') != std::string_view::npos) return refused();  // credentials come from a file
  url.port = "4318";
  const auto bracket = authority.find(']');
  const auto colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    url.port = authority.substr(colon + 1);
    unsigned short number = 0;
    const auto read = std::from_chars(url.port.data(), url.port.data() + url.port.size(), number);
    if (read.ec != std::errc() || read.ptr != url.port.data() + url.port.size() || number == 0) return refused();
    authority = authority.substr(0, colon);
  }
  if (bracket != std::string_view::npos) {
    if (authority.size() < 3 || authority.front() != '[' || authority.back() != ']') return refused();
    authority = authority.substr(1, authority.size() - 2);
  }
  if (authority.empty()) return refused();
  url.host = authority;
  return url;
}

Result<std::vector<std::pair<std::string, std::string>>> read_headers(const std::string& file) {
  const auto text = files::read_small_file(file, longest_headers_file);
  if (!text) return fail(text.error());
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view rest = *text;
  for (int number = 1; !rest.empty(); ++number) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const auto colon = line.find(':');
    const auto name = line.substr(0, colon);
    const bool is_token = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_';
    });
    auto value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    const bool is_text = std::all_of(value.begin(), value.end(), [](unsigned char c) { return c >= ' ' && c != 0x7f; });
    if (!is_token || value.empty() || !is_text) {
      return fail(Errc::invalid, file + ": line " + std::to_string(number) + ": expected Name: value");
    }
    headers.emplace_back(name, value);
  }
  return headers;
}

Result<std::unique_ptr<OtlpSink>> OtlpSink::open(asio::io_context& io, OtlpSettings settings) {
  std::optional<ssl::context> tls;
  if (settings.url.tls) {
    tls.emplace(ssl::context::tls_client);
    boost::system::error_code ec;
    tls->set_verify_mode(ssl::verify_peer, ec);
    if (settings.ca_file.empty()) {
      tls->set_default_verify_paths(ec);
    } else {
      tls->load_verify_file(settings.ca_file, ec);
    }
    if (ec) {
      const auto& what = settings.ca_file.empty() ? std::string("the system's certificates") : settings.ca_file;
      return fail(Errc::invalid, what + ": cannot be read: " + ec.message());
    }
  }
  return std::unique_ptr<OtlpSink>(new OtlpSink(io, std::move(settings), std::move(tls)));
}

void OtlpSink::send(const std::vector<std::string>& lines, Done done) {
  auto body = gzip(otlp_json(settings_, lines));
  if (tls_) {
    using Stream = beast::ssl_stream<beast::tcp_stream>;
    return std::make_shared<Exchange<Stream>>(io_, settings_, std::move(body), std::move(done), *tls_)->start();
  }
  std::make_shared<Exchange<beast::tcp_stream>>(io_, settings_, std::move(body), std::move(done))->start();
}

}  // namespace podfence::sink
