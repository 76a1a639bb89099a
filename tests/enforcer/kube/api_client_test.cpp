// A request with a body beside the watches: what is sent, what is heard, and what becomes of silence.
#include "enforcer/kube/api_client.h"

#include <gtest/gtest.h>

#include "tests/enforcer/kube/server.h"

namespace podfence::kube {
namespace {

using namespace std::chrono_literals;

struct Client : ::testing::Test {
  ApiAnswer call(const std::string& port, std::chrono::milliseconds deadline = 30s) {
    kubeconfig::ClientConfig config;
    config.host = config.server_name = "127.0.0.1";
    config.port = port;
    config.base_path = "/prefix";
    config.ca.data = authority.pem();
    config.token.data = "secret";
    boost::asio::io_context io;
    auto client = ApiClient::open(io, config, "podfence/1.2", deadline);
    EXPECT_TRUE(client) << client.error().what();
    std::optional<ApiAnswer> answer;
    (*client)->call({"PATCH", "/events/x", "application/merge-patch+json", "{\"a\":1}"},
                    [&](const ApiAnswer& given) { answer = given; });
    EXPECT_FALSE(answer) << "not from within";
    io.run();
    EXPECT_TRUE(answer);
    return answer.value_or(ApiAnswer{});
  }
  test::Authority authority;
  test::Pem pem = authority.sign({.names = "IP:127.0.0.1"});
};

TEST_F(Client, sends_the_method_and_the_body_and_hears_all_of_the_answer) {
  test::Server server(
      "127.0.0.1", pem,
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 20000\r\n\r\n" + std::string(20'000, 'x'));
  const auto answer = call(server.port());
  EXPECT_EQ(answer.status, 429U);
  EXPECT_EQ(answer.retry_after, 7s);
  EXPECT_EQ(answer.body.size(), 16U * 1024);
  const auto request = server.sessions().at(0).request;
  for (const char* part :
       {"PATCH /prefix/events/x HTTP/1.1\r\n", "Authorization: Bearer secret\r\n",
        "Content-Type: application/merge-patch+json\r\n", "Content-Length: 7\r\n", "User-Agent: podfence/1.2\r\n"}) {
    EXPECT_NE(request.find(part), std::string::npos) << part << " in " << request;
  }
}

TEST_F(Client, silence_ends_at_the_deadline) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::acceptor silent(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const auto answer = call(std::to_string(silent.local_endpoint().port()), 300ms);
  EXPECT_EQ(answer.status, 0U);
  EXPECT_EQ(answer.error, "no answer within 300 ms");
}

TEST_F(Client, a_server_that_is_not_there) {
  const auto answer = call("1");
  EXPECT_EQ(answer.status, 0U);
  EXPECT_NE(answer.error.find("connection"), std::string::npos) << answer.error;
}

}  // namespace
}  // namespace podfence::kube
