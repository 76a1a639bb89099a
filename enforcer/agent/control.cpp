#include "enforcer/agent/control.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "policy/base/json_writer.h"

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;

constexpr std::size_t most_request_bytes = std::size_t{64} << 10U;
constexpr std::size_t most_sessions = 64;
constexpr std::chrono::seconds session_time{10};
constexpr std::chrono::milliseconds accept_pause{100};

std::string system_error() {
  return std::strerror(errno);
}

Result<> prepare_directory(const std::filesystem::path& directory) {
  std::error_code ec;
  std::filesystem::create_directories(directory.parent_path(), ec);
  if (::mkdir(directory.c_str(), S_IRWXU) == 0) return {};
  if (errno != EEXIST) return fail(Errc::io, directory.string() + ": cannot be made: " + system_error());
  struct stat info {};
  if (::lstat(directory.c_str(), &info) != 0) return fail(Errc::io, directory.string() + ": " + system_error());
  if (!S_ISDIR(info.st_mode)) return fail(Errc::invalid, directory.string() + ": is not a directory");
  if (info.st_uid != ::geteuid()) return fail(Errc::permission, directory.string() + ": belongs to another user");
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail(Errc::permission, directory.string() + ": is open to others; its mode must be 0700");
  }
  return {};
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return fail(Errc::invalid, "socket path '" + path + "' is empty or longer than 107 bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

/// Connects a blocking socket, or -1 with errno.
int connect_to(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr generic{};
  static_assert(sizeof(address) >= sizeof(generic));
  if (::connect(fd, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof(address)) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

bool may_ask(Protocol::socket& socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

std::string error_json(std::string_view what) {
  std::string out;
  JsonWriter(out).begin_object().field("error", what).end_object();
  return out;
}

}  // namespace

/// One connection: reads a line, answers it, ends. Keeps itself alive through its handlers.
class Control::Session : public std::enable_shared_from_this<Control::Session> {
 public:
  Session(Protocol::socket socket, Answerer& answerer, std::shared_ptr<std::size_t> count)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), answerer_(answerer), count_(std::move(count)) {
    ++*count_;
  }
  ~Session() { --*count_; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start() {
    deadline_.expires_after(session_time);
    deadline_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
      boost::system::error_code ignored;
      if (const auto self = weak.lock(); self && !ec) self->socket_.close(ignored);
    });
    asio::async_read_until(socket_, asio::dynamic_buffer(request_, most_request_bytes), '\n',
                           [self = shared_from_this()](boost::system::error_code ec, std::size_t length) {
                             self->on_request(ec, length);
                           });
  }

 private:
  void on_request(boost::system::error_code ec, std::size_t length) {
    if (ec == asio::error::not_found) {
      reply_ = error_json("the request is longer than 64 KiB");
    } else if (ec) {
      deadline_.cancel();
      return;
    } else {
      auto answer = answerer_.answer(std::string_view(request_).substr(0, length - 1));
      reply_ = answer ? std::move(*answer) : error_json(answer.error().what());
    }
    reply_ += '\n';
    asio::async_write(
        socket_, asio::buffer(reply_),
        [self = shared_from_this()](boost::system::error_code, std::size_t) { self->deadline_.cancel(); });
  }

  Protocol::socket socket_;
  asio::steady_timer deadline_;
  Answerer& answerer_;
  std::shared_ptr<std::size_t> count_;
  std::string request_;
  std::string reply_;
};

Control::Control(asio::io_context& io, std::string path, Answerer& answerer)
    : acceptor_(io), pause_(io), path_(std::move(path)), answerer_(answerer) {}

Control::~Control() {
  stop();
}

Result<std::unique_ptr<Control>> Control::listen(asio::io_context& io, const std::string& path, Answerer& answerer) {
  const auto address = address_of(path);
  if (!address) return fail(address.error());
  if (auto ready = prepare_directory(std::filesystem::path(path).parent_path()); !ready) return fail(ready.error());
  if (const int fd = connect_to(*address); fd >= 0) {
    ::close(fd);
    return fail(Errc::busy, path + ": another agent answers there already");
  }
  if (errno == ECONNREFUSED) ::unlink(path.c_str());

  std::unique_ptr<Control> control(new Control(io, path, answerer));
  boost::system::error_code ec;
  control->acceptor_.open(Protocol(), ec);
  if (!ec) control->acceptor_.bind(Protocol::endpoint(path), ec);
  if (!ec && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) ec.assign(errno, boost::system::system_category());
  if (!ec) control->acceptor_.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) return fail(Errc::io, path + ": " + ec.message());
  control->accept();
  return control;
}

void Control::accept() {
  acceptor_.async_accept([this](boost::system::error_code ec, Protocol::socket socket) {
    if (ec == asio::error::operation_aborted) return;
    if (!ec && *sessions_ < most_sessions && may_ask(socket)) {
      std::make_shared<Session>(std::move(socket), answerer_, sessions_)->start();
    }
    if (!ec) return accept();
    pause_.expires_after(accept_pause);  // no descriptor left, most likely: a tight loop would help nobody
    pause_.async_wait([this](boost::system::error_code stopped) {
      if (!stopped) accept();
    });
  });
}

void Control::stop() {
  if (!acceptor_.is_open()) return;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  ::unlink(path_.c_str());
}

Result<std::string> ask(const std::string& socket_path, std::string_view request_json) {
  const auto address = address_of(socket_path);
  if (!address) return fail(address.error());
  const int fd = connect_to(*address);
  if (fd < 0) {
    const auto code = errno == EACCES ? Errc::permission : Errc::unavailable;
    return fail(code, "no agent answers at " + socket_path + ": " + system_error());
  }
  const timeval limit{std::chrono::seconds(session_time).count(), 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  const auto request = std::string(request_json) + "\n";
  std::string reply;
  bool sent = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  char chunk[4096];
  ssize_t length = 0;
  while (sent && (length = ::recv(fd, chunk, sizeof(chunk), 0)) > 0)
    reply.append(chunk, static_cast<std::size_t>(length));
  ::close(fd);
  if (!sent || length < 0 || reply.empty()) return fail(Errc::io, socket_path + ": the agent did not answer");
  if (reply.back() == '\n') reply.pop_back();
  return reply;
}

}  // namespace podfence::agent
