// The pages, asked by raw sockets: honest clients, and others.
#include "enforcer/agent/http.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <thread>

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

class Echo final : public Pages {
 public:
  Page page(std::string_view path) override {
    if (path == "/none") return {.status = 404, .body = "not here\n"};
    return {.status = 200, .content_type = "text/x", .body = "path " + std::string(path) + "\n"};
  }
};

/// A server on a thread of its own, on a free port of the loopback address.
class HttpTest : public ::testing::Test {
 protected:
  HttpTest() {
    auto made = HttpServer::listen(io_, *parse_http_address("127.0.0.1:0"), pages_);
    if (!made) throw std::runtime_error(made.error().what());
    server_ = std::move(*made);
    address_ = server_->address();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~HttpTest() override {
    asio::post(io_, [this] { server_.reset(); });
    asio::post(io_, [this] { io_.stop(); });
    thread_.join();
  }

  tcp::socket connect() {
    tcp::socket socket(client_io_);
    socket.connect(address_);
    return socket;
  }
  /// Everything until the server ends the connection.
  static std::string rest_of(tcp::socket& socket) {
    std::string text;
    boost::system::error_code ec;
    asio::read(socket, asio::dynamic_buffer(text), ec);
    return text;
  }
  std::string ask(const std::string& request) {
    auto socket = connect();
    boost::system::error_code ec;
    asio::write(socket, asio::buffer(request), ec);
    return rest_of(socket);
  }

  asio::io_context io_;
  asio::io_context client_io_;
  Echo pages_;
  std::unique_ptr<HttpServer> server_;
  tcp::endpoint address_;
  std::thread thread_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(HttpTest, answers_a_page) {
  const auto answer = ask("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(has(answer, "Content-Type: text/x\r\n")) << answer;
  EXPECT_TRUE(has(answer, "Connection: close\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\npath /metrics\n")) << answer;
}

TEST_F(HttpTest, answers_head_without_a_body_and_other_paths_with_404) {
  const auto head = ask("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(has(head, "Content-Length: 14\r\n")) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  EXPECT_TRUE(ask("GET /none HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 Not Found\r\n"));
}

TEST_F(HttpTest, changes_nothing) {
  for (const std::string method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    const auto answer = ask(method + " /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 ")) << answer;
    EXPECT_TRUE(has(answer, "Allow: GET, HEAD\r\n")) << answer;
  }
}

TEST_F(HttpTest, refuses_what_is_no_request) {
  for (const std::string& wrong :
       {std::string("\r\n\r\n\r\n"), std::string("nonsense\r\n\r\n"), std::string("GET /\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nbad header\r\n\r\n"), std::string("\x16\x03\x01\x02\x00\x01", 6) + "\r\n\r\n",
        "GET / HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n",
        std::string("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
        std::string("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n")}) {
    const auto answer = ask(wrong);
    EXPECT_FALSE(has(answer, " 200 ")) << wrong.substr(0, 40);
  }
  EXPECT_TRUE(has(ask("GET /a HTTP/1.1\r\n\r\n"), " 200 ")) << "it goes on";
}

TEST_F(HttpTest, does_not_wait_for_ever_and_serves_so_many_at_once) {
  std::vector<tcp::socket> idle;
  for (std::size_t i = 0; i < HttpServer::most_sessions; ++i) idle.push_back(connect());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(ask("GET /a HTTP/1.1\r\n\r\n"), "") << "one more is closed";
  EXPECT_EQ(rest_of(idle.front()), "") << "one that asks nothing is closed in the end";
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(has(ask("GET /a HTTP/1.1\r\n\r\n"), " 200 "));
}

TEST_F(HttpTest, names_an_address_that_is_taken) {
  asio::io_context io;
  const auto second = HttpServer::listen(io, address_, pages_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::busy);
  EXPECT_TRUE(has(second.error().what(), "127.0.0.1 port " + std::to_string(address_.port()))) << second.error().what();
}

TEST(HttpAddress, is_an_address_and_a_port) {
  for (const char* text : {"127.0.0.1:9100", "0.0.0.0:0", "[::1]:65535", "[fe80::1]:1"}) {
    EXPECT_TRUE(parse_http_address(text)) << text;
  }
  for (const char* text : {"", ":", "9100", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "localhost:1",
                           "::1:9100", "[127.0.0.1]:9100", "[::1]", "127.0.0.1:1 ", " 127.0.0.1:1", "1.2.3:4"}) {
    const auto address = parse_http_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_TRUE(has(address.error().what(), "http-address '" + std::string(text) + "'"));
  }
}

}  // namespace
}  // namespace podfence::agent
