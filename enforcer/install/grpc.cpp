#include "enforcer/install/grpc.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "enforcer/install/unix_socket.h"

namespace podfence::install {
namespace {

using Clock = std::chrono::steady_clock;

enum FrameType : std::uint8_t { data = 0, headers = 1, reset = 3, settings = 4, ping = 6, go_away = 7, window = 8 };
constexpr std::uint8_t flag_end_stream = 0x1;
constexpr std::uint8_t flag_ack = 0x1;  // of settings and ping
constexpr std::uint8_t flag_end_headers = 0x4;
constexpr std::uint8_t flag_padded = 0x8;
constexpr std::uint32_t our_stream = 1;
constexpr std::uint32_t large_window = 16U << 20U;
constexpr std::size_t longest_frame = 16384;  // what a server may send that was told nothing else
constexpr std::size_t longest_answer = std::size_t{16} << 20U;
constexpr std::size_t grpc_prefix = 5;  // compressed or not, length

std::string number(std::uint32_t value, int bytes) {
  std::string out;
  constexpr std::uint32_t byte = 0xff;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    out += static_cast<char>((value >> static_cast<unsigned>(shift)) & byte);
  }
  return out;
}

std::uint32_t number_in(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
  return value;
}

std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  return number(static_cast<std::uint32_t>(payload.size()), 3) + number(type, 1) + number(flags, 1) +
         number(stream, 4) + std::string(payload);
}

std::string field(std::string_view name_bytes, std::string_view value) {
  return std::string(name_bytes) + number(static_cast<std::uint32_t>(value.size()), 1) + std::string(value);
}

/// Everything that has to be said at once: who we are, how much may come, the question.
std::string opening(std::string_view method, std::string_view message) {
  constexpr std::uint32_t enable_push = 2;
  constexpr std::uint32_t initial_window = 4;
  const std::string limits =
      number(enable_push, 2) + number(0, 4) + number(initial_window, 2) + number(large_window, 4);
  // Names from the static table where it has them (RFC 7541, appendix A); nothing is to be remembered.
  const std::string names = std::string("\x83\x86", 2) +                                  // :method POST, :scheme http
                            field(std::string_view("\x04", 1), method) +                  // :path
                            field(std::string_view("\x01", 1), "localhost") +             // :authority
                            field(std::string_view("\x0f\x10", 2), "application/grpc") +  // content-type
                            field(std::string_view("\x00\x02te", 4), "trailers");
  const std::string body = number(0, 1) + number(static_cast<std::uint32_t>(message.size()), 4) + std::string(message);
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, limits) +
         frame(window, 0, 0, number(large_window, 4)) + frame(headers, flag_end_headers, our_stream, names) +
         frame(data, flag_end_stream, our_stream, body);
}

class Connection {
 public:
  Connection(Descriptor fd, Clock::time_point deadline) : fd_(std::move(fd)), deadline_(deadline) {}

  Result<> send(std::string_view bytes) {
    while (!bytes.empty()) {
      if (auto ready = wait(POLLOUT); !ready) return ready;
      const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (sent < 0) return fail(system_error("sending"));
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
  }

  Result<std::string> receive(std::size_t length) {
    while (buffer_.size() < length) {
      if (auto ready = wait(POLLIN); !ready) return fail(ready.error());
      std::array<char, 16384> chunk{};
      const auto got = ::recv(fd_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got <= 0) return fail(Errc::unavailable, "the connection was closed");
      buffer_.append(chunk.data(), static_cast<std::size_t>(got));
    }
    std::string taken = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return taken;
  }

 private:
  Result<> wait(short event) const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    struct pollfd waiting {
      fd_.get(), event, 0
    };
    if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) == 0) {
      return fail(Errc::unavailable, "no answer within the deadline");
    }
    return {};
  }

  Descriptor fd_;
  Clock::time_point deadline_;
  std::string buffer_;
};

struct Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
};

Result<Frame> next_frame(Connection& connection) {
  constexpr std::size_t head_size = 9;
  constexpr std::uint32_t stream_bits = 0x7fffffff;
  const auto head = connection.receive(head_size);
  if (!head) return fail(head.error());
  const std::string_view bytes = *head;
  Frame got{static_cast<std::uint8_t>(bytes[3]),
            static_cast<std::uint8_t>(bytes[4]),
            number_in(bytes.substr(5)) & stream_bits,
            {}};
  const std::size_t length = number_in(bytes.substr(0, 3));
  if (length > longest_frame) return fail(Errc::invalid, "the answer is no HTTP/2");
  auto payload = connection.receive(length);
  if (!payload) return fail(payload.error());
  got.payload = std::move(*payload);
  return got;
}

Result<> take_data(const Frame& got, std::string& body) {
  std::string_view bytes = got.payload;
  if ((got.flags & flag_padded) != 0) {
    const std::size_t padding = bytes.empty() ? 0 : static_cast<unsigned char>(bytes.front());
    if (bytes.size() <= padding) return fail(Errc::invalid, "a padded frame is too short");
    bytes = bytes.substr(1, bytes.size() - 1 - padding);
  }
  body += bytes;
  if (body.size() > longest_answer) return fail(Errc::limit, "the answer is too long");
  return {};
}

/// The body of the answer on our stream, whole.
Result<std::string> listen(Connection& connection) {
  std::string body;
  for (;;) {
    const auto got = next_frame(connection);
    if (!got) return fail(got.error());
    if ((got->type == settings || got->type == ping) && (got->flags & flag_ack) == 0) {
      const auto echo = got->type == ping ? got->payload : std::string();
      if (auto sent = connection.send(frame(static_cast<FrameType>(got->type), flag_ack, 0, echo)); !sent) {
        return fail(sent.error());
      }
    }
    if (got->type == go_away) return fail(Errc::unavailable, "the server says goodbye");
    if (got->stream != our_stream) continue;
    if (got->type == reset) return fail(Errc::refused, "the server refuses the question");
    if (got->type == data) {
      if (auto taken = take_data(*got, body); !taken) return fail(taken.error());
    }
    if ((got->type == data || got->type == headers) && (got->flags & flag_end_stream) != 0) return body;
  }
}

}  // namespace

Result<std::string> ask_grpc(const std::string& socket, std::string_view method, std::string_view message,
                             std::chrono::milliseconds deadline) {
  auto fd = connect_unix(socket);
  if (!fd) return fail(fd.error());
  Connection connection(std::move(*fd), Clock::now() + deadline);
  if (auto sent = connection.send(opening(method, message)); !sent) return fail(Error(sent.error()).in(socket));
  auto body = listen(connection);
  if (!body) return fail(Error(body.error()).in(socket));
  const std::string_view bytes = *body;
  if (bytes.size() < grpc_prefix)
    return fail(Errc::refused, socket + ": answers " + std::string(method) + " with an error");
  if (bytes.front() != 0 || number_in(bytes.substr(1, 4)) != bytes.size() - grpc_prefix) {
    return fail(Errc::invalid, socket + ": the answer is no message");
  }
  return body->substr(grpc_prefix);
}

}  // namespace podfence::install
