#pragma once
// An HTTP proxy with a thread for one connection after the other: it keeps what it is asked and answers with the bytes
// that a test gives; where they are a 200 it then passes bytes to and fro.
#include <array>
#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace podfence::test {

class Proxy {
 public:
  using Tcp = boost::asio::ip::tcp;

  /// `target`: the port on 127.0.0.1 or ::1 to which each tunnel leads.
  explicit Proxy(std::string answer, Tcp::endpoint target = {})
      : acceptor_(io_, Tcp::endpoint(boost::asio::ip::make_address("127.0.0.1"), 0)),
        answer_(std::move(answer)),
        target_(std::move(target)),
        thread_([this] { run(); }) {}
  ~Proxy() {
    ends_ = true;
    boost::system::error_code ec;
    boost::asio::io_context io;
    Tcp::socket(io).connect(acceptor_.local_endpoint(), ec);  // wakes accept()
    thread_.join();
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  std::string port() const { return std::to_string(acceptor_.local_endpoint().port()); }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void run() {
    while (true) {
      Tcp::socket client(io_);
      boost::system::error_code ec;
      acceptor_.accept(client, ec);
      if (ends_ || ec) return;
      serve(client);
    }
  }

  void serve(Tcp::socket& client) {
    boost::system::error_code ec;
    boost::asio::streambuf buffer(1 << 20);
    boost::asio::read_until(client, buffer, "\r\n\r\n", ec);
    const auto data = buffer.data();
    {
      const std::lock_guard lock(mutex_);
      requests_.emplace_back(boost::asio::buffers_begin(data), boost::asio::buffers_end(data));
    }
    boost::asio::write(client, boost::asio::buffer(answer_), ec);
    if (ec || target_.port() == 0) return;
    Tcp::socket server(io_);
    server.connect(target_, ec);
    if (ec) return;
    std::thread back([&] { pass(server, client); });
    pass(client, server);
    back.join();
  }

  static void pass(Tcp::socket& from, Tcp::socket& to) {
    std::array<char, 4096> bytes{};
    boost::system::error_code ec;
    while (!ec) {
      const auto length = from.read_some(boost::asio::buffer(bytes), ec);
      boost::system::error_code written;
      boost::asio::write(to, boost::asio::buffer(bytes, length), written);
      if (written) break;
    }
    to.shutdown(Tcp::socket::shutdown_send, ec);
  }

  boost::asio::io_context io_;
  Tcp::acceptor acceptor_;
  std::string answer_;
  Tcp::endpoint target_;
  std::atomic<bool> ends_ = false;
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace podfence::test
