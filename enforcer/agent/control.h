#pragma once
// The agent's unix socket: one JSON object in a line asks, one JSON object in a line answers, then the connection ends.
// Who may ask: root, or the user the agent runs as (SO_PEERCRED); the socket lies in a 0700 directory. A request is at
// most 64 KiB, a connection lives at most ten seconds unless its answer was put off for longer, and at most 256 are
// served at once; one more is closed at once.
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::agent {

/// The way back to one who asked. It may be kept and used later, once; without an answer the connection just ends.
class Reply {
 public:
  /// Where answers go: a connection.
  class Target {
   public:
    virtual ~Target() = default;
    virtual void send(std::string line) = 0;
    virtual void keep(std::chrono::milliseconds time) = 0;
  };

  explicit Reply(std::shared_ptr<Target> target) : target_(std::move(target)) {}
  Reply(Reply&&) = default;
  Reply& operator=(Reply&&) = default;

  /// One line of JSON; a failure becomes {"error": "..."}.
  void send(Result<std::string> answer);
  /// The answer comes within that time: the connection lives so long.
  void keep(std::chrono::milliseconds time) { target_->keep(time); }

 private:
  std::shared_ptr<Target> target_;
};

/// Answers one request; called on the io_context's thread. One that answers at once overrides answer(), one that may
/// answer later take().
class Answerer {
 public:
  virtual ~Answerer() = default;
  virtual Result<std::string> answer(std::string_view request_json) = 0;
  virtual void take(std::string_view request_json, Reply reply) { reply.send(answer(request_json)); }
};

class Control {
 public:
  static constexpr std::size_t most_sessions = 256;

  /// Creates the socket's directory (0700) where it is missing; an existing one must belong to this user and be closed
  /// to others. A socket that nobody listens on any more is replaced; a living one is an error (another agent runs),
  /// and so is anything there that is no socket.
  static Result<std::unique_ptr<Control>> listen(boost::asio::io_context& io, const std::string& path,
                                                 Answerer& answerer);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// Stops listening and removes the socket.
  void stop();

 private:
  class Session;
  Control(boost::asio::io_context& io, std::string path, Answerer& answerer);
  void accept();

  boost::asio::local::stream_protocol::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::string path_;
  bool bound_ = false;  // the socket at path_ is ours
  Answerer& answerer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // handlers that wait in the io_context see it go
  std::shared_ptr<std::size_t> sessions_ = std::make_shared<std::size_t>(0);
};

/// The client's side: sends one request and waits for the answer (blocking, some ten seconds at most).
Result<std::string> ask(const std::string& socket_path, std::string_view request_json);

}  // namespace podfence::agent
