// The control socket: who may ask, what is answered, and what a bad client can do.
#include "enforcer/agent/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace podfence::agent {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class Echo final : public Answerer {
 public:
  Result<std::string> answer(std::string_view request) override {
    ++asked;
    if (request == "fail") return fail(Errc::invalid, "no \"such\" thing\n");
    if (request == "large") return std::string(std::size_t{1} << 20U, 'x');
    return "[" + std::string(request) + "]";
  }
  void take(std::string_view request, Reply reply) override {
    if (!request.starts_with("later")) return Answerer::take(request, std::move(reply));
    if (request == "later, in twenty seconds") reply.keep(20s);
    put_off.push_back(std::move(reply));
  }
  int asked = 0;
  std::vector<Reply> put_off;
};

/// A directory of its own, an io_context that the test drives, and clients that wait on threads of their own.
class ControlSocket : public ::testing::Test {
 protected:
  ControlSocket() {
    std::string name = (fs::temp_directory_path() / "control-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = name;
    directory_ = root_ / "run";
    path_ = (directory_ / "control.sock").string();
  }
  ~ControlSocket() override { fs::remove_all(root_); }

  std::unique_ptr<Control> listen() {
    auto control = Control::listen(io_, path_, echo_);
    if (!control) ADD_FAILURE() << control.error().what();
    return control ? std::move(*control) : nullptr;
  }
  Errc refusal() {
    auto control = Control::listen(io_, path_, echo_);
    EXPECT_FALSE(control);
    return control ? Errc::io : control.error().code();
  }

  /// Asks on another thread while this one serves.
  Result<std::string> ask_served(std::string_view request) {
    Result<std::string> reply = fail(Errc::io, "not asked");
    std::atomic<bool> done{false};
    std::thread client([&] {
      reply = ask(path_, request);
      done = true;
    });
    while (!done) serve(2ms);  // a client gives up by itself
    client.join();
    return reply;
  }

  /// A client without manners.
  int connect() {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size());
    EXPECT_EQ(::connect(fd, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof(address)), 0);
    clients_.push_back(fd);
    return fd;
  }
  static void send(int fd, std::string_view bytes) {
    EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  /// What the server sent until now; "<closed>" at the end when it has closed.
  static std::string received(int fd) {
    std::string all;
    char chunk[4096];
    while (true) {
      const auto length = ::recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
      if (length < 0 && errno == EAGAIN) return all;
      if (length <= 0) return all + "<closed>";
      all.append(chunk, static_cast<std::size_t>(length));
    }
  }
  void serve(std::chrono::milliseconds time = 50ms) {
    io_.restart();
    io_.run_for(time);
    io_.restart();
    while (io_.poll() != 0) continue;  // whatever is ready, however late this thread got its turn
  }
  void TearDown() override {
    for (const int fd : clients_) ::close(fd);
  }

  fs::path root_;
  fs::path directory_;
  std::string path_;
  boost::asio::io_context io_;
  Echo echo_;
  std::vector<int> clients_;
};

TEST_F(ControlSocket, answers) {
  const auto control = listen();
  EXPECT_EQ(ask_served("hello").value(), "[hello]");
  EXPECT_EQ(ask_served("again").value(), "[again]");
  EXPECT_EQ(ask_served("").value(), "[]");
  EXPECT_EQ(ask_served("large").value().size(), std::size_t{1} << 20U);
}

TEST_F(ControlSocket, a_failure_is_one_line_of_json) {
  const auto control = listen();
  EXPECT_EQ(ask_served("fail").value(), R"({"error":"no \"such\" thing\n"})");
}

TEST_F(ControlSocket, is_closed_to_others) {
  const auto control = listen();
  struct stat info {};
  ASSERT_EQ(::stat(directory_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
}

TEST_F(ControlSocket, makes_the_directories_above_it) {
  directory_ = root_ / "a" / "b";
  path_ = (directory_ / "control.sock").string();
  const auto control = listen();
  EXPECT_EQ(ask_served("x").value(), "[x]");
}

TEST_F(ControlSocket, takes_a_directory_that_is_as_it_should_be) {
  fs::create_directory(directory_);
  ::chmod(directory_.c_str(), 0700);
  EXPECT_TRUE(listen());
}

TEST_F(ControlSocket, refuses_a_directory_that_is_open_to_others) {
  fs::create_directory(directory_);
  std::ofstream(directory_ / "theirs") << "x";
  for (const mode_t mode : {0755U, 0710U, 0701U, 0770U, 0702U}) {
    ::chmod(directory_.c_str(), mode);
    EXPECT_EQ(refusal(), Errc::permission) << mode;
    EXPECT_EQ(fs::status(directory_).permissions(), static_cast<fs::perms>(mode));
  }
}

TEST_F(ControlSocket, closes_an_empty_directory_to_others) {
  fs::create_directory(directory_);
  ::chmod(directory_.c_str(), 0755);
  EXPECT_TRUE(listen());
  EXPECT_EQ(fs::status(directory_).permissions(), fs::perms::owner_all);
}

TEST_F(ControlSocket, refuses_a_directory_of_another_user) {
  if (::geteuid() != 0) GTEST_FAIL() << "only root can give a directory away";
  fs::create_directory(directory_);
  ::chmod(directory_.c_str(), 0700);
  ASSERT_EQ(::chown(directory_.c_str(), 65534, 65534), 0);
  EXPECT_EQ(refusal(), Errc::permission);
}

TEST_F(ControlSocket, refuses_a_directory_that_is_none) {
  std::ofstream(directory_) << "x";
  EXPECT_EQ(refusal(), Errc::invalid);
  fs::remove(directory_);
  fs::create_directory(root_ / "real");
  ::chmod((root_ / "real").c_str(), 0700);
  fs::create_symlink(root_ / "real", directory_);
  EXPECT_EQ(refusal(), Errc::invalid) << "a link could be led elsewhere";
}

TEST_F(ControlSocket, refuses_a_path_that_is_too_long) {
  path_ = (directory_ / std::string(120, 'x')).string();
  EXPECT_EQ(refusal(), Errc::invalid);
  path_.clear();
  EXPECT_EQ(refusal(), Errc::invalid);
  EXPECT_EQ(ask(path_, "x").error().code(), Errc::invalid);
}

TEST_F(ControlSocket, replaces_a_stale_socket) {
  fs::create_directory(directory_);
  ::chmod(directory_.c_str(), 0700);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.c_str(), path_.size());
  ASSERT_EQ(::bind(fd, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof(address)), 0);
  ::close(fd);  // killed: nobody removed it
  ASSERT_TRUE(fs::exists(path_));
  const auto control = listen();
  EXPECT_EQ(ask_served("x").value(), "[x]");
}

TEST_F(ControlSocket, leaves_alone_what_is_no_socket) {
  fs::create_directory(directory_);
  ::chmod(directory_.c_str(), 0700);
  std::ofstream(path_) << "precious";
  EXPECT_EQ(refusal(), Errc::invalid);
  EXPECT_TRUE(fs::is_regular_file(path_));
}

TEST_F(ControlSocket, leaves_alone_a_socket_of_another_kind) {
  fs::create_directory(directory_);
  ::chmod(directory_.c_str(), 0700);
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.c_str(), path_.size());
  ASSERT_EQ(::bind(fd, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof(address)), 0);
  EXPECT_EQ(refusal(), Errc::io);
  EXPECT_TRUE(fs::is_socket(path_)) << "somebody serves it";
  ::close(fd);
}

TEST_F(ControlSocket, refuses_when_another_agent_listens) {
  const auto control = listen();
  EXPECT_EQ(refusal(), Errc::busy);
  EXPECT_EQ(ask_served("x").value(), "[x]") << "the first one still answers";
}

TEST_F(ControlSocket, is_removed_at_the_end_and_can_be_opened_again) {
  listen();
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_EQ(ask(path_, "x").error().code(), Errc::unavailable);
  const auto control = listen();
  EXPECT_EQ(ask_served("x").value(), "[x]");
}

TEST_F(ControlSocket, can_go_while_clients_wait_to_be_accepted) {
  auto one = listen();
  path_ = (directory_ / "other.sock").string();
  auto two = listen();
  connect();
  path_ = (directory_ / "control.sock").string();
  connect();
  io_.poll_one();  // both are accepted; one handler ran, the other one waits
  one.reset();
  two.reset();
  serve();
  EXPECT_EQ(echo_.asked, 0);
}

TEST_F(ControlSocket, ends_its_work_when_it_is_stopped) {
  const auto control = listen();
  connect();
  io_.poll_one();
  control->stop();
  for (const int fd : clients_) ::shutdown(fd, SHUT_RDWR);
  io_.restart();
  const auto begin = std::chrono::steady_clock::now();
  io_.run_for(5s);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s) << "run() must come to an end";
}

TEST_F(ControlSocket, a_request_that_is_too_long_is_refused) {
  const auto control = listen();
  const auto reply = ask_served(std::string(200'000, 'x'));
  ASSERT_TRUE(reply) << reply.error().what();
  EXPECT_EQ(*reply, R"({"error":"the request is longer than 64 KiB"})");
  EXPECT_EQ(echo_.asked, 0);
  const std::string longest((std::size_t{64} << 10U) - 1, 'x');
  EXPECT_EQ(ask_served(longest).value(), "[" + longest + "]");
}

TEST_F(ControlSocket, half_a_request_is_no_request) {
  const auto control = listen();
  const int fd = connect();
  send(fd, "half");
  serve();
  EXPECT_EQ(received(fd), "");
  ::shutdown(fd, SHUT_WR);
  serve();
  EXPECT_EQ(received(fd), "<closed>");
  EXPECT_EQ(echo_.asked, 0);
}

TEST_F(ControlSocket, a_request_may_come_in_pieces_and_is_the_only_one) {
  const auto control = listen();
  const int fd = connect();
  send(fd, "in pi");
  serve();
  send(fd, "eces\nand another\n");
  serve();
  EXPECT_EQ(received(fd), "[in pieces]\n<closed>");
  EXPECT_EQ(echo_.asked, 1);
}

TEST_F(ControlSocket, a_slow_client_does_not_block_others) {
  const auto control = listen();
  const int slow = connect();
  send(slow, "sl");
  const int deaf = connect();
  send(deaf, "large\n");  // and never reads
  serve();
  EXPECT_EQ(ask_served("x").value(), "[x]");
  send(slow, "ow\n");
  serve();
  EXPECT_EQ(received(slow), "[slow]\n<closed>");
}

TEST_F(ControlSocket, a_connection_ends_after_ten_seconds) {
  const auto control = listen();
  const int silent = connect();
  const int deaf = connect();
  send(deaf, "large\n");
  const int patient = connect();
  send(patient, "later, in twenty seconds\n");
  const int put_off = connect();
  send(put_off, "later\n");
  serve(8s);
  EXPECT_EQ(received(silent), "");
  serve(4s);
  EXPECT_EQ(received(silent), "<closed>");
  EXPECT_EQ(received(put_off), "<closed>");
  EXPECT_TRUE(received(deaf).ends_with("<closed>"));
  EXPECT_EQ(received(patient), "");
  for (auto& reply : echo_.put_off) reply.send(std::string("late"));
  serve();
  EXPECT_EQ(received(patient), "late\n<closed>");
}

TEST_F(ControlSocket, an_answer_may_come_later) {
  const auto control = listen();
  const int fd = connect();
  const int forgotten = connect();
  send(fd, "later\n");
  serve();
  send(forgotten, "later\n");
  serve();
  ASSERT_EQ(echo_.put_off.size(), 2u);
  EXPECT_EQ(received(fd), "");
  EXPECT_EQ(ask_served("x").value(), "[x]");
  echo_.put_off[0].send(std::string("at last"));
  echo_.put_off.pop_back();
  serve();
  EXPECT_EQ(received(fd), "at last\n<closed>");
  EXPECT_EQ(received(forgotten), "<closed>") << "without an answer the connection just ends";
}

TEST_F(ControlSocket, an_answer_for_a_client_that_went_goes_nowhere) {
  const auto control = listen();
  const int fd = connect();
  send(fd, "later\n");
  serve();
  ::shutdown(fd, SHUT_RDWR);
  serve();
  ASSERT_EQ(echo_.put_off.size(), 1u);
  echo_.put_off[0].send(fail(Errc::io, "x"));
  serve();
  EXPECT_EQ(ask_served("y").value(), "[y]");
}

TEST_F(ControlSocket, as_many_as_allowed_are_served_at_once_and_one_more_is_closed) {
  const auto control = listen();
  for (std::size_t i = 0; i < Control::most_sessions; ++i) connect();
  serve();
  const int over = connect();
  serve();
  EXPECT_EQ(received(over), "<closed>");
  for (std::size_t i = 0; i < Control::most_sessions; ++i) {
    const int fd = clients_[i];
    send(fd, std::to_string(i) + "\n");
    serve(5ms);
    EXPECT_EQ(received(fd), "[" + std::to_string(i) + "]\n<closed>");
  }
  EXPECT_EQ(ask_served("room again").value(), "[room again]");
}

TEST_F(ControlSocket, another_user_gets_no_answer) {
  if (::geteuid() != 0) GTEST_FAIL() << "only root can become another user";
  const auto control = listen();
  // Open the way that is closed to others, so that only the check of the peer is left.
  ::chmod(root_.c_str(), 0755);
  ::chmod(directory_.c_str(), 0755);
  ::chmod(path_.c_str(), 0666);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(3);
    const auto reply = ask(path_, "secret");
    ::_exit(reply ? 1 : reply.error().code() == Errc::io ? 0 : 2);
  }
  ASSERT_GT(child, 0);
  int status = -1;
  while (::waitpid(child, &status, WNOHANG) == 0) serve(10ms);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: it was answered, 2: it could not connect, 3: no other user";
  EXPECT_EQ(echo_.asked, 0);
}

}  // namespace
}  // namespace podfence::agent
