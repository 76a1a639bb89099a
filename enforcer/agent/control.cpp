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
#include <optional>

#include "policy/base/json_writer.h"

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;

constexpr std::size_t most_request_bytes = std::size_t{64} << 10U;
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
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  // As a kubelet makes the folder of a hostPath. One with anything in it may be somebody else's and is left alone.
  const auto empty = [&] { return std::filesystem::is_empty(directory, ec) && !ec; };
  if (empty() && ::chmod(directory.c_str(), S_IRWXU) == 0 && empty()) return {};
  return fail(Errc::permission, directory.string() + ": is open to others and not empty; its mode must be 0700");
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

/// Connects a blocking socket whose calls end with EAGAIN in the end, or gives -1 with errno.
int connect_to(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const timeval limit{std::chrono::seconds(session_time).count(), 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));  // connecting, too
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  sockaddr generic{};
  static_assert(sizeof(address) >= sizeof(generic));
  if (::connect(fd, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof(address)) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

/// Removes a socket that nobody listens on any more.
Result<> remove_stale(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};  // binding says what is wrong with it
  if (!S_ISSOCK(info.st_mode)) return fail(Errc::invalid, path + ": is there and is no socket");
  if (::unlink(path.c_str()) != 0)
    return fail(Errc::io, path + ": a stale socket cannot be removed: " + system_error());
  return {};
}

bool may_ask(Protocol::socket& socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Up to the end of the line, without it; nothing when the line does not come in time or is cut off.
std::optional<std::string> receive_line(int fd) {
  const auto deadline = std::chrono::steady_clock::now() + session_time;
  std::string line;
  char chunk[4096];
  while (std::chrono::steady_clock::now() < deadline) {
    const auto length = ::recv(fd, chunk, sizeof(chunk), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return std::nullopt;
    line.append(chunk, static_cast<std::size_t>(length));
    if (line.back() != '\n') continue;
    line.pop_back();
    return line;
  }
  return std::nullopt;
}

std::string error_json(std::string_view what) {
  std::string out;
  JsonWriter(out).begin_object().field("error", what).end_object();
  return out;
}

}  // namespace

void Reply::send(Result<std::string> answer) {
  target_->send(answer ? std::move(*answer) : error_json(answer.error().what()));
  target_.reset();
}

/// One connection: reads a line, answers it, ends. Its handlers keep it alive, and between question and answer the
/// Reply.
class Control::Session : public Reply::Target, public std::enable_shared_from_this<Control::Session> {
 public:
  Session(Protocol::socket socket, Answerer& answerer, std::shared_ptr<std::size_t> count)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), answerer_(answerer), count_(std::move(count)) {
    ++*count_;
  }
  ~Session() override { --*count_; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start() {
    live_for(session_time);
    asio::async_read_until(socket_, asio::dynamic_buffer(request_, most_request_bytes), '\n',
                           [self = shared_from_this()](boost::system::error_code ec, std::size_t length) {
                             self->on_request(ec, length);
                           });
  }

  void keep(std::chrono::milliseconds time) override { live_for(time + session_time); }

  void send(std::string line) override {
    reply_ = std::move(line) + '\n';
    if (deadline_.expiry() <= std::chrono::steady_clock::now()) return;  // too late: it is closed
    live_for(session_time);
    asio::async_write(
        socket_, asio::buffer(reply_),
        [self = shared_from_this()](boost::system::error_code, std::size_t) { self->deadline_.cancel(); });
  }

 private:
  void live_for(std::chrono::milliseconds time) {
    deadline_.expires_after(time);
    deadline_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
      boost::system::error_code ignored;
      if (const auto self = weak.lock(); self && !ec) self->socket_.close(ignored);
    });
  }

  void on_request(boost::system::error_code ec, std::size_t length) {
    if (ec == asio::error::not_found) return send(error_json("the request is longer than 64 KiB"));
    if (ec) {
      deadline_.cancel();
      return;
    }
    answerer_.take(std::string_view(request_).substr(0, length - 1), Reply(shared_from_this()));
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
  if (errno == ECONNREFUSED) {
    if (auto removed = remove_stale(path); !removed) return fail(removed.error());
  }

  std::unique_ptr<Control> control(new Control(io, path, answerer));
  boost::system::error_code ec;
  control->acceptor_.open(Protocol(), ec);
  if (!ec) control->acceptor_.bind(Protocol::endpoint(path), ec);
  control->bound_ = !ec;
  if (!ec && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) ec.assign(errno, boost::system::system_category());
  if (!ec) control->acceptor_.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) return fail(Errc::io, path + ": " + ec.message());
  control->accept();
  return control;
}

void Control::accept() {
  acceptor_.async_accept([this, alive = std::weak_ptr(alive_)](boost::system::error_code ec, Protocol::socket socket) {
    // A handler that was ready before the end is called after it, without an error.
    if (alive.expired() || !acceptor_.is_open()) return;
    if (!ec && *sessions_ < most_sessions && may_ask(socket)) {
      std::make_shared<Session>(std::move(socket), answerer_, sessions_)->start();
    }
    if (!ec) return accept();
    pause_.expires_after(accept_pause);  // no descriptor left, most likely: a tight loop would help nobody
    pause_.async_wait([this, alive](boost::system::error_code stopped) {
      if (!stopped && !alive.expired() && acceptor_.is_open()) accept();
    });
  });
}

void Control::stop() {
  if (!acceptor_.is_open()) return;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  if (bound_) ::unlink(path_.c_str());
}

Result<std::string> ask(const std::string& socket_path, std::string_view request_json) {
  const auto address = address_of(socket_path);
  if (!address) return fail(address.error());
  const int fd = connect_to(*address);
  if (fd < 0) {
    const auto code = errno == EACCES ? Errc::permission : Errc::unavailable;
    return fail(code, "no agent answers at " + socket_path + ": " + system_error());
  }
  // A request that is cut off is answered, too, with why.
  send_all(fd, std::string(request_json) + "\n");
  auto reply = receive_line(fd);
  ::close(fd);
  if (!reply) return fail(Errc::io, socket_path + ": the agent did not answer");
  return *std::move(reply);
}

}  // namespace podfence::agent
