#pragma once
// The agent's unix socket: one JSON object in a line asks, one JSON object in a line answers, then the connection ends.
// Who may ask: root, or the user the agent runs as (SO_PEERCRED); the socket lies in a 0700 directory. A request is at
// most 64 KiB, a connection lives at most ten seconds, and at most 64 are served at once; one more is closed at once.
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::agent {

/// Answers one request; called on the io_context's thread. A failure becomes {"error": "..."}.
class Answerer {
 public:
  virtual ~Answerer() = default;
  virtual Result<std::string> answer(std::string_view request_json) = 0;
};

class Control {
 public:
  /// Creates the socket's directory (0700) where it is missing; an existing one must belong to this user and be closed
  /// to others. A socket that nobody listens on any more is replaced; a living one is an error (another agent runs).
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
  Answerer& answerer_;
  std::shared_ptr<std::size_t> sessions_ = std::make_shared<std::size_t>(0);
};

/// The client's side: sends one request, waits for the answer (blocking, ten seconds at most).
Result<std::string> ask(const std::string& socket_path, std::string_view request_json);

}  // namespace podfence::agent
