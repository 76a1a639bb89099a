// One request over TLS: rows T1, T3, T6, T10, T14, L12 and W17. A test's name begins with its row.
#include "enforcer/kube/http_exchange.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "tests/enforcer/kube/server.h"

namespace podfence::kube {
namespace {

using test::Authority;
using test::Pem;
using test::Server;

constexpr const char* fine =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: "
    "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

struct Heard final : HttpExchange::Listener {
  void on_head(const reflector::Head& h) override { head = h; }
  void on_bytes(std::string_view bytes) override { body += bytes; }
  void on_close(const reflector::Closed& c) override { closed = c; }
  reflector::Head head;
  std::string body;
  std::optional<reflector::Closed> closed;
};

struct Client {
  kubeconfig::ClientConfig config;
  kubeconfig::Credentials::Tls material;

  Heard get(const std::string& address, const std::string& port, std::string server_name = "") {
    if (server_name.empty()) server_name = address;
    boost::asio::io_context io;
    const auto tls = make_tls(config, material);
    EXPECT_TRUE(tls) << tls.error().what();
    Heard heard;
    const auto exchange = HttpExchange::open(
        io, *tls,
        {address, port, server_name, config.insecure, "/api/v1/pods?limit=1", "Bearer secret", "podfence/1.2"}, heard);
    io.run();
    EXPECT_TRUE(heard.closed);
    return heard;
  }
};

struct Exchange : ::testing::Test {
  Exchange() { client.config.ca.data = client.material.ca = authority.pem(); }
  Authority authority;
  Client client;
};

TEST_F(Exchange, L12_W17_T14_what_is_asked_and_how_it_is_answered) {
  Server server("127.0.0.1", authority.sign({.names = "IP:127.0.0.1"}), fine);
  const auto heard = client.get("127.0.0.1", server.port());
  EXPECT_TRUE(heard.closed->whole) << heard.closed->why;
  EXPECT_EQ(heard.head.status, 200U);
  EXPECT_TRUE(is_json(heard.head));
  EXPECT_EQ(heard.body, "abcde");
  const auto session = server.sessions().at(0);
  EXPECT_NE(session.request.find("GET /api/v1/pods?limit=1 HTTP/1.1\r\n"), std::string::npos) << session.request;
  EXPECT_NE(session.request.find("User-Agent: podfence/1.2\r\n"), std::string::npos);
  EXPECT_NE(session.request.find("Authorization: Bearer secret\r\n"), std::string::npos);
  EXPECT_NE(session.request.find("Accept: application/json\r\n"), std::string::npos);
  EXPECT_EQ(session.request.find("Accept-Encoding"), std::string::npos);
  EXPECT_EQ(session.sni, "") << "an address is no name";
}

TEST_F(Exchange, T6_the_server_is_verified_by_its_address_or_name) {
  struct Row {
    const char* what;
    std::string address;
    std::string server_name;
    Pem pem;
    bool good;
  };
  Authority other;
  const std::vector<Row> rows{
      {"IPv4", "127.0.0.1", "", authority.sign({.names = "IP:127.0.0.1"}), true},
      {"IPv6", "::1", "", authority.sign({.names = "IP:::1"}), true},
      {"a name", "127.0.0.1", "api.example", authority.sign({.names = "DNS:api.example"}), true},
      {"a wild card", "127.0.0.1", "api.example.org", authority.sign({.names = "DNS:*.example.org"}), true},
      {"another name beside it", "127.0.0.1", "", authority.sign({.names = "DNS:x,IP:127.0.0.1"}), true},
      {"another address", "127.0.0.1", "", authority.sign({.names = "IP:127.0.0.2"}), false},
      {"an address as a name", "127.0.0.1", "", authority.sign({.names = "DNS:127.0.0.1"}), false},
      {"another name", "127.0.0.1", "api.example", authority.sign({.names = "DNS:api.other"}), false},
      {"the address instead of the name", "127.0.0.1", "api.example", authority.sign({.names = "IP:127.0.0.1"}), false},
      {"no name", "127.0.0.1", "", authority.sign({}), false},
      {"expired", "127.0.0.1", "", authority.sign({.names = "IP:127.0.0.1", .begins = -7200, .ends = -3600}), false},
      {"not yet", "127.0.0.1", "", authority.sign({.names = "IP:127.0.0.1", .begins = 3600, .ends = 7200}), false},
      {"self-signed", "127.0.0.1", "", Authority::self_signed({.names = "IP:127.0.0.1"}), false},
      {"another authority", "127.0.0.1", "", other.sign({.names = "IP:127.0.0.1"}), false},
  };
  for (const auto& row : rows) {
    Server server(row.address, row.pem, fine);
    const auto heard = client.get(row.address, server.port(), row.server_name);
    EXPECT_EQ(heard.body, row.good ? "abcde" : "") << row.what << ": " << heard.closed->why;
    EXPECT_EQ(heard.closed->whole, row.good) << row.what;
    if (row.good) {
      EXPECT_EQ(server.sessions().at(0).sni, row.server_name);
    } else {
      EXPECT_TRUE(server.sessions().empty()) << row.what << ": nothing was asked, so no token was told";
    }
  }
}

TEST_F(Exchange, T6_no_tls_older_than_1_2) {
  const auto pem = authority.sign({.names = "IP:127.0.0.1"});
  Server old("127.0.0.1", pem, fine, TLS1_1_VERSION);
  EXPECT_FALSE(client.get("127.0.0.1", old.port()).closed->whole);
  Server server("127.0.0.1", pem, fine, TLS1_2_VERSION);
  EXPECT_TRUE(client.get("127.0.0.1", server.port()).closed->whole);
  EXPECT_EQ(server.sessions().at(0).version, "TLSv1.2");
}

TEST_F(Exchange, T6_a_server_that_need_not_be_verified) {
  Server server("127.0.0.1", Authority::self_signed({}), fine);
  client.config.insecure = true;
  client.config.ca.data.clear();
  EXPECT_TRUE(client.get("127.0.0.1", server.port()).closed->whole);
}

TEST_F(Exchange, T10_a_client_certificate) {
  Server server("127.0.0.1", authority.sign({.names = "IP:127.0.0.1"}), fine, TLS1_3_VERSION, authority.pem());
  EXPECT_FALSE(client.get("127.0.0.1", server.port()).closed->whole);
  const auto mine = authority.sign({});
  client.config.certificate.data = client.material.certificate = mine.certificate;
  client.config.key.data = client.material.key = mine.key;
  EXPECT_TRUE(client.get("127.0.0.1", server.port()).closed->whole);
  EXPECT_EQ(server.sessions().back().client, "known");
  client.material.key = authority.sign({}).key;
  EXPECT_FALSE(make_tls(client.config, client.material)) << "the key of another certificate";
}

TEST_F(Exchange, T14_a_redirect_is_an_answer_and_is_not_followed) {
  const auto pem = authority.sign({.names = "IP:127.0.0.1"});
  Server elsewhere("127.0.0.1", pem, fine);
  Server server("127.0.0.1", pem,
                "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:" + elsewhere.port() +
                    "/api/v1/pods\r\nContent-Length: 0\r\n\r\n");
  const auto heard = client.get("127.0.0.1", server.port());
  EXPECT_EQ(heard.head.status, 302U);
  EXPECT_TRUE(elsewhere.sessions().empty());
}

TEST_F(Exchange, T14_headers_have_an_end) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
  const auto pem = authority.sign({.names = "IP:127.0.0.1"});
  for (const std::string& answer :
       {head + "X: " + std::string(70'000, 'x') + "\r\nContent-Length: 0\r\n\r\n",
        head + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(70'000, 'x') + "\r\na\r\n0\r\n\r\n"}) {
    Server server("127.0.0.1", pem, answer);
    const auto heard = client.get("127.0.0.1", server.port());
    EXPECT_FALSE(heard.closed->whole);
    EXPECT_EQ(heard.body, "");
  }
}

TEST_F(Exchange, what_is_cut_is_not_whole) {
  const auto pem = authority.sign({.names = "IP:127.0.0.1"});
  const std::string answer = fine;
  for (const std::size_t length : {std::size_t{0}, std::size_t{20}, answer.size() - 12, answer.size() - 5}) {
    Server server("127.0.0.1", pem, answer.substr(0, length));
    EXPECT_FALSE(client.get("127.0.0.1", server.port()).closed->whole) << length;
  }
  Server garbage("127.0.0.1", pem, "SSH-2.0-no\r\n\r\n");
  EXPECT_FALSE(client.get("127.0.0.1", garbage.port()).closed->whole);
  Server bad_chunk("127.0.0.1", pem, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n");
  EXPECT_FALSE(client.get("127.0.0.1", bad_chunk.port()).closed->whole);
}

TEST_F(Exchange, a_server_that_is_not_there_and_one_that_has_a_name) {
  EXPECT_NE(client.get("127.0.0.1", "1").closed->why.find("connection"), std::string::npos);
  Server server("127.0.0.1", authority.sign({.names = "DNS:localhost"}), fine);
  EXPECT_TRUE(client.get("localhost", server.port()).closed->whole);
}

TEST_F(Exchange, T1_a_server_that_does_not_shake_hands_is_given_up) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::acceptor silent(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const auto began = std::chrono::steady_clock::now();
  const auto heard = client.get("127.0.0.1", std::to_string(silent.local_endpoint().port()));
  EXPECT_FALSE(heard.closed->whole);
  EXPECT_NE(heard.closed->why.find("TLS"), std::string::npos) << heard.closed->why;
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::seconds(9));
}

/// The options of this process's sockets whose other end has the port.
std::vector<int> options_of_sockets_to(const std::string& port) {
  std::vector<int> found;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    if (::getpeername(fd, static_cast<sockaddr*>(static_cast<void*>(&peer)), &length) != 0) continue;
    if (peer.sin_family != AF_INET || std::to_string(ntohs(peer.sin_port)) != port) continue;
    for (const auto& [level, option] :
         {std::pair(SOL_SOCKET, SO_KEEPALIVE), std::pair(int{IPPROTO_TCP}, TCP_KEEPIDLE),
          std::pair(int{IPPROTO_TCP}, TCP_KEEPINTVL), std::pair(int{IPPROTO_TCP}, TCP_KEEPCNT),
          std::pair(int{IPPROTO_TCP}, TCP_USER_TIMEOUT)}) {
      int value = 0;
      length = sizeof value;
      ::getsockopt(fd, level, option, &value, &length);
      found.push_back(value);
    }
  }
  return found;
}

TEST_F(Exchange, T3_the_kernel_is_told_when_a_silent_peer_is_gone) {
  Server server("127.0.0.1", authority.sign({.names = "IP:127.0.0.1"}), fine);
  const auto tls = make_tls(client.config, client.material);
  struct Looks final : HttpExchange::Listener {
    void on_head(const reflector::Head&) override { options = options_of_sockets_to(port); }
    void on_bytes(std::string_view) override {}
    void on_close(const reflector::Closed&) override {}
    std::string port;
    std::vector<int> options;
  };
  boost::asio::io_context io;
  Looks looks;
  looks.port = server.port();
  const auto exchange =
      HttpExchange::open(io, *tls, {"127.0.0.1", server.port(), "127.0.0.1", false, "/", "", "x"}, looks);
  io.run();
  EXPECT_EQ(looks.options, (std::vector<int>{1, 20, 5, 3, 30'000}));
}

TEST_F(Exchange, B2_B4_the_head_tells_what_a_refusal_says) {
  Server server("127.0.0.1", authority.sign({.names = "IP:127.0.0.1"}),
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nX-Kubernetes-PF-FlowSchema-UID: abc\r\n"
                "Content-Length: 2\r\n\r\n{}");
  const auto heard = client.get("127.0.0.1", server.port());
  EXPECT_EQ(heard.head.status, 429U);
  EXPECT_EQ(heard.head.retry_after, std::chrono::seconds(7));
  EXPECT_EQ(heard.head.flow_schema, "abc");
}

TEST_F(Exchange, after_it_is_cancelled_nothing_is_heard) {
  Server server("127.0.0.1", authority.sign({.names = "IP:127.0.0.1"}), fine);
  const auto tls = make_tls(client.config, client.material);
  struct Cancels final : HttpExchange::Listener {
    void on_head(const reflector::Head&) override { exchange->cancel(); }
    void on_bytes(std::string_view) override { ADD_FAILURE(); }
    void on_close(const reflector::Closed&) override { ADD_FAILURE(); }
    std::shared_ptr<HttpExchange> exchange;
  };
  boost::asio::io_context io;
  Cancels at_head;
  at_head.exchange =
      HttpExchange::open(io, *tls, {"127.0.0.1", server.port(), "127.0.0.1", false, "/", "", "x"}, at_head);
  Heard never;
  HttpExchange::open(io, *tls, {"127.0.0.1", server.port(), "127.0.0.1", false, "/", "", "x"}, never)->cancel();
  io.run();
  EXPECT_FALSE(never.closed);
}

}  // namespace
}  // namespace podfence::kube
