// A request through an HTTP proxy: row T13. A test's name begins with its row.
#include "tests/enforcer/kube/proxy.h"

#include <gtest/gtest.h>

#include "enforcer/kube/api_client.h"
#include "enforcer/kube/http_exchange.h"
#include "tests/enforcer/kube/server.h"

namespace podfence::kube {
namespace {

using Endpoint = boost::asio::ip::tcp::endpoint;

constexpr const char* fine = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nabcde";
constexpr const char* opened = "HTTP/1.1 200 Connection established\r\n\r\n";

struct Heard final : HttpExchange::Listener {
  void on_head(const reflector::Head&) override {}
  void on_bytes(std::string_view bytes) override { body += bytes; }
  void on_close(const reflector::Closed& c) override { closed = c; }
  std::string body;
  std::optional<reflector::Closed> closed;
};

struct ThroughAProxy : ::testing::Test {
  Heard get(const std::string& host, const std::string& port, const std::string& proxy_port) {
    kubeconfig::ClientConfig config;
    config.host = config.server_name = host;
    config.port = port;
    config.ca.data = authority.pem();
    config.proxy = kubeconfig::Proxy{"127.0.0.1", proxy_port, "me", "secret"};
    boost::asio::io_context io;
    const auto tls = make_tls(config, {.ca = authority.pem(), .certificate = {}, .key = {}});
    EXPECT_TRUE(tls) << tls.error().what();
    auto call = call_to(config, "/api/v1/pods");
    call.authorization = "Bearer token";
    call.user_agent = "podfence/1.2";
    Heard heard;
    const auto exchange = HttpExchange::open(io, *tls, std::move(call), heard);
    io.run();
    EXPECT_TRUE(heard.closed);
    return heard;
  }
  static Endpoint at(const std::string& address, const std::string& port) {
    return {boost::asio::ip::make_address(address), static_cast<unsigned short>(std::stoi(port))};
  }
  test::Authority authority;
};

TEST_F(ThroughAProxy, T13_it_is_told_where_to_and_who_asks_and_the_server_is_verified_behind_it) {
  struct Row {
    std::string host;
    std::string address;
    std::string names;
    std::string target;
  };
  for (const auto& row :
       {Row{"127.0.0.1", "127.0.0.1", "IP:127.0.0.1", "127.0.0.1"}, Row{"::1", "::1", "IP:::1", "[::1]"},
        // A name that only the proxy knows.
        Row{"api.invalid", "127.0.0.1", "DNS:api.invalid", "api.invalid"}}) {
    test::Server server(row.address, authority.sign({.names = row.names}), fine);
    test::Proxy proxy(opened, at(row.address, server.port()));
    const auto heard = get(row.host, server.port(), proxy.port());
    EXPECT_EQ(heard.body, "abcde") << heard.closed->why;
    const auto target = row.target + ":" + server.port();
    std::string asked = "CONNECT TARGET HTTP/1.1\r\nHost: TARGET\r\nUser-Agent: podfence/1.2\r\n";
    asked += "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    for (int i = 0; i < 2; ++i) asked.replace(asked.find("TARGET"), 6, target);
    EXPECT_EQ(proxy.requests(), std::vector{asked});
    const auto request = server.sessions().at(0).request;
    EXPECT_NE(request.find("Authorization: Bearer token\r\n"), std::string::npos) << request;
    EXPECT_EQ(request.find("Proxy-Authorization"), std::string::npos) << request;
  }
  test::Server other("127.0.0.1", authority.sign({.names = "DNS:api.other"}), fine);
  test::Proxy proxy(opened, at("127.0.0.1", other.port()));
  EXPECT_EQ(get("api.invalid", other.port(), proxy.port()).body, "");
  EXPECT_TRUE(other.sessions().empty()) << "nothing was asked, so no token was told";
}

TEST_F(ThroughAProxy, T13_single_requests_go_through_it_too) {
  test::Server server("127.0.0.1", authority.sign({.names = "DNS:api.invalid"}), fine);
  test::Proxy proxy(opened, at("127.0.0.1", server.port()));
  kubeconfig::ClientConfig config;
  config.host = config.server_name = "api.invalid";
  config.port = server.port();
  config.ca.data = authority.pem();
  config.proxy = kubeconfig::Proxy{"127.0.0.1", proxy.port(), "", ""};
  boost::asio::io_context io;
  const auto client = ApiClient::open(io, config, "podfence/1.2", std::chrono::seconds(60));
  ASSERT_TRUE(client) << client.error().what();
  ApiAnswer answer;
  (*client)->call({"POST", "/events", "application/json", "{}"}, [&](ApiAnswer given) { answer = std::move(given); });
  io.run();
  EXPECT_EQ(answer.body, "abcde") << answer.error;
  EXPECT_EQ(proxy.requests().size(), 1U);
  EXPECT_EQ(proxy.requests().at(0).find("Authorization"), std::string::npos) << "it has no user";
}

TEST_F(ThroughAProxy, T13_headers_of_a_good_answer_say_nothing_of_what_follows) {
  test::Server server("127.0.0.1", authority.sign({.names = "IP:127.0.0.1"}), fine);
  for (const char* header : {"Content-Length: 7", "Transfer-Encoding: chunked", "Connection: close"}) {
    test::Proxy proxy("HTTP/1.0 200 OK\r\n" + std::string(header) + "\r\n\r\n", at("127.0.0.1", server.port()));
    const auto heard = get("127.0.0.1", server.port(), proxy.port());
    EXPECT_EQ(heard.body, "abcde") << header << ": " << heard.closed->why;
  }
}

TEST_F(ThroughAProxy, T13_what_goes_wrong_at_it_is_said_with_its_name_and_without_its_password) {
  struct Row {
    std::string answer;
    std::string words;
  };
  for (const auto& row : {
           Row{"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
               "answer to CONNECT api.invalid:6443: 407 Proxy Authentication Required"},
           Row{"HTTP/1.1 403 no\r\nContent-Length: 2\r\n\r\nno", "403 Forbidden"},
           Row{"HTTP/1.1 503 \x1b[2J\r\n\r\n", "answer to CONNECT"},
           Row{"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "302 Found"},
           Row{"SSH-2.0-no\r\n\r\n", "answer to CONNECT: bad version"},
           Row{"", "answer to CONNECT: end of stream"},
           Row{"HTTP/1.1 200 OK\r\nX: ", "answer to CONNECT: partial message"},
           Row{"HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n", "answer to CONNECT: "},
           Row{opened + std::string("more"), "more than an answer to CONNECT"},
       }) {
    test::Proxy proxy(row.answer);
    const auto heard = get("api.invalid", "6443", proxy.port());
    EXPECT_FALSE(heard.closed->whole);
    const auto& why = heard.closed->why;
    EXPECT_EQ(why.rfind("proxy http://127.0.0.1:" + proxy.port() + ": ", 0), 0U) << why;
    EXPECT_NE(why.find(row.words), std::string::npos) << why;
    EXPECT_EQ(why.find("secret"), std::string::npos) << why;
    EXPECT_EQ(why.find('\x1b'), std::string::npos) << why;
  }
  const auto nobody = get("api.invalid", "6443", "1").closed->why;
  EXPECT_EQ(nobody.rfind("proxy http://127.0.0.1:1: connection: ", 0), 0U) << nobody;
}

TEST_F(ThroughAProxy, T13_T1_one_that_is_silent_is_given_up) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::acceptor silent(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const auto port = std::to_string(silent.local_endpoint().port());
  const auto began = std::chrono::steady_clock::now();
  const auto why = get("api.invalid", "6443", port).closed->why;
  EXPECT_EQ(why.rfind("proxy http://127.0.0.1:" + port + ": answer to CONNECT: ", 0), 0U) << why;
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::seconds(29));
}

}  // namespace
}  // namespace podfence::kube
