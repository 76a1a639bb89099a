// Which proxy is asked for the API server: row T13. What is expected is what golang.org/x/net/http/httpproxy answers,
// which client-go asks.
#include "enforcer/kubeconfig/proxy.h"

#include <gtest/gtest.h>

#include <map>

#include "enforcer/kubeconfig/client_config.h"
#include "tests/enforcer/kubeconfig/files.h"

namespace podfence::kubeconfig {
namespace {

TEST(Proxy, T13_what_is_reached_without_a_proxy) {
  struct Row {
    std::string no_proxy;
    std::string host;
    std::string port;
    bool direct;
  };
  for (const auto& row : {
           // Never proxied, whatever the list says.
           Row{"", "localhost", "6443", true},
           Row{"", "127.0.0.1", "6443", true},
           Row{"", "127.8.9.1", "6443", true},
           Row{"", "::1", "6443", true},
           Row{"", "0:0:0:0:0:0:0:1", "6443", true},
           Row{"", "::ffff:127.0.0.1", "6443", true},
           Row{"", "localhost.example", "6443", false},
           Row{"", "10.0.0.1", "6443", false},
           Row{"", "api.example.com", "6443", false},
           // Everything.
           Row{"*", "api.example.com", "6443", true},
           Row{"10.9.9.9, * ", "fd00::1", "6443", true},
           Row{"*:6443", "10.0.0.1", "6443", false},
           // Names, and what is below.
           Row{"example.com", "example.com", "6443", true},
           Row{"example.com", "api.example.com", "6443", true},
           Row{"example.com", "a.b.example.com", "6443", true},
           Row{"example.com", "notexample.com", "6443", false},
           Row{"example.com", "example.com.evil", "6443", false},
           Row{".example.com", "api.example.com", "6443", true},
           Row{".example.com", "example.com", "6443", false},
           Row{"*.example.com", "api.example.com", "6443", true},
           Row{"*.example.com", "example.com", "6443", false},
           Row{"api.example.com", "example.com", "6443", false},
           Row{"*.com.example", "com.example", "6443", false},
           // Case and blanks.
           Row{"Example.COM", "api.example.com", "6443", true},
           Row{"example.com", "API.Example.Com", "6443", true},
           Row{" a.example ,\texample.com ", "api.example.com", "6443", true},
           Row{",,", "api.example.com", "6443", false},
           Row{"a.example example.com", "example.com", "6443", false},
           // Ports.
           Row{"example.com:6443", "api.example.com", "6443", true},
           Row{"example.com:443", "api.example.com", "6443", false},
           Row{"example.com:", "api.example.com", "6443", true},
           Row{":6443", "api.example.com", "6443", false},
           Row{"10.0.0.1:6443", "10.0.0.1", "6443", true},
           Row{"10.0.0.1:443", "10.0.0.1", "6443", false},
           Row{"[fd00::1]:6443", "fd00::1", "6443", true},
           Row{"[fd00::1]:443", "fd00::1", "6443", false},
           // Addresses.
           Row{"10.0.0.1", "10.0.0.1", "6443", true},
           Row{"10.0.0.1", "10.0.0.10", "6443", false},
           Row{"10.0.0.1", "x.10.0.0.1", "6443", false},
           Row{"0.0.1", "10.0.0.1", "6443", false},
           Row{"FD00:0::1", "fd00::1", "6443", true},
           Row{"fd00::1", "fd00::2", "6443", false},
           Row{"[fd00::1]", "fd00::1", "6443", false},
           Row{"10.0.0.1", "::ffff:10.0.0.1", "6443", true},
           // Blocks; a port is nothing that a block has.
           Row{"10.0.0.0/8", "10.200.0.1", "6443", true},
           Row{"10.1.2.3/8", "10.200.0.1", "6443", true},
           Row{"10.0.0.0/8", "11.0.0.1", "6443", false},
           Row{"10.0.0.0/33", "10.0.0.1", "6443", false},
           Row{"10.0.0.0/8:6443", "10.0.0.1", "6443", false},
           Row{"0.0.0.0/0", "fd00::1", "6443", false},
           Row{"0.0.0.0/0", "api.example.com", "6443", false},
           Row{"192.168.0.0/16,fd00::/8", "fd12::1", "6443", true},
       }) {
    EXPECT_EQ(goes_direct(row.no_proxy, row.host, row.port), row.direct)
        << "NO_PROXY='" << row.no_proxy << "', server " << row.host << " port " << row.port;
  }
}

TEST(Proxy, T13_urls) {
  struct Row {
    std::string url;
    Proxy proxy;
  };
  for (const auto& [url, proxy] : {
           Row{"http://proxy.example:3128", {"proxy.example", "3128", "", ""}},
           Row{"HTTP://proxy.example", {"proxy.example", "80", "", ""}},
           Row{"proxy.example:3128", {"proxy.example", "3128", "", ""}},
           Row{"10.0.0.1", {"10.0.0.1", "80", "", ""}},
           Row{"http://[fd00::1]:3128/", {"fd00::1", "3128", "", ""}},
           Row{"http://me:secret@proxy:3128/path?x", {"proxy", "3128", "me", "secret"}},
           Row{"me:p%40ss%3Aw%2Ford@proxy:3128", {"proxy", "3128", "me", "p@ss:w/ord"}},
           Row{"http://me@proxy", {"proxy", "80", "me", ""}},
           Row{"http://me:a@b@proxy", {"proxy", "80", "me", "a@b"}},
       }) {
    const auto parsed = parse_proxy(url);
    ASSERT_TRUE(parsed) << url << ": " << parsed.error().what();
    EXPECT_EQ(*parsed, proxy) << url << " is " << parsed->text();
  }
  EXPECT_EQ(parse_proxy("http://me:secret@[fd00::1]:8080")->text(), "http://[fd00::1]:8080");
  EXPECT_EQ(parse_proxy("http://me:secret@p")->authorization(), "Basic bWU6c2VjcmV0");
  EXPECT_EQ(parse_proxy("http://p")->authorization(), "");
}

TEST(Proxy, T13_what_is_no_proxy_is_refused_without_its_password) {
  struct Row {
    std::string url;
    std::string words;
  };
  for (const auto& row : {
           Row{"https://me:secret@proxy:3128", "'https://proxy:3128': a proxy of scheme 'https' is not supported"},
           Row{"socks5://me:secret@proxy:1080", "'socks5://proxy:1080': a proxy of scheme 'socks5' is not supported"},
           Row{"http://me:secret@", "expected a host"},
           Row{"http://me:secret@proxy:port", "expected a port"},
           Row{"http://me:secret@proxy:0", "expected a port"},
           Row{"http://me:secret@[fd00::1", "expected"},
           Row{"http://me:secret@proxy one", "expected http://"},
           Row{"http://me:secret%2@proxy", "percent-encoded"},
           Row{"http://me:secret%zz@proxy", "percent-encoded"},
           Row{"http://me:secret@proxy\r\nX: y", "expected http://"},
       }) {
    const auto parsed = parse_proxy(row.url);
    ASSERT_FALSE(parsed) << row.url;
    EXPECT_NE(parsed.error().what().find(row.words), std::string::npos) << parsed.error().what();
    EXPECT_EQ(parsed.error().what().find("secret"), std::string::npos) << parsed.error().what();
  }
}

struct Choosing : ::testing::Test {
  using Variables = std::map<std::string, std::string>;

  Result<ClientConfig> loaded(const std::string& cluster, const Variables& variables) {
    const auto file = files.write("config", "current-context: m\nclusters:\n- name: c\n  cluster: {" + cluster +
                                                "}\ncontexts:\n- name: m\n  context: {cluster: c}\n");
    return load({.file = file, .context = ""}, environment(variables));
  }
  static Environment environment(const Variables& variables) {
    return [variables](const std::string& name) -> std::optional<std::string> {
      const auto at = variables.find(name);
      return at == variables.end() ? std::nullopt : std::optional(at->second);
    };
  }
  std::string proxy(const std::string& cluster, const Variables& variables) {
    const auto config = loaded(cluster, variables);
    if (!config) return config.error().what();
    return config->proxy ? config->proxy->text() : "none";
  }
  test::Files files;
};

TEST_F(Choosing, T13_in_a_pod_the_environment_counts_too) {
  Variables variables{{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
  EXPECT_FALSE(load({}, environment(variables))->proxy);
  variables["HTTPS_PROXY"] = "http://one:1";
  EXPECT_EQ(load({}, environment(variables))->proxy->text(), "http://one:1");
  variables["NO_PROXY"] = "10.96.0.0/12";
  EXPECT_FALSE(load({}, environment(variables))->proxy);
}

TEST_F(Choosing, T13_the_environment_and_what_counts_before_it) {
  const std::string server = "server: 'https://api.example:6443'";
  EXPECT_EQ(proxy(server, {}), "none");
  EXPECT_EQ(proxy(server, {{"HTTP_PROXY", "http://one"}, {"ALL_PROXY", "http://two"}}), "none")
      << "the server is https";
  EXPECT_EQ(proxy(server, {{"HTTPS_PROXY", "http://one:1"}}), "http://one:1");
  EXPECT_EQ(proxy(server, {{"https_proxy", "http://one:1"}}), "http://one:1");
  EXPECT_EQ(proxy(server, {{"HTTPS_PROXY", "http://one:1"}, {"https_proxy", "http://two:2"}}), "http://one:1");
  EXPECT_EQ(proxy(server, {{"HTTPS_PROXY", ""}, {"https_proxy", "http://two:2"}}), "http://two:2");
  for (const char* name : {"NO_PROXY", "no_proxy"}) {
    EXPECT_EQ(proxy(server, {{"HTTPS_PROXY", "http://one:1"}, {name, "example:6443"}}), "none");
    EXPECT_EQ(proxy(server, {{"HTTPS_PROXY", "socks5://one:1"}, {name, "example"}}), "none") << "nobody asks it";
  }
  EXPECT_EQ(proxy(server, {{"HTTPS_PROXY", "http://one:1"}, {"NO_PROXY", "x"}, {"no_proxy", "*"}}), "http://one:1");
  EXPECT_NE(proxy(server, {{"HTTPS_PROXY", "socks5://u:pw@one:1"}}).find("HTTPS_PROXY: 'socks5://one:1'"),
            std::string::npos);
  const auto with_url = server + ", proxy-url: 'http://file:3'";
  EXPECT_EQ(proxy(with_url, {{"HTTPS_PROXY", "http://one:1"}, {"NO_PROXY", "*"}}), "http://file:3");
  EXPECT_EQ(proxy("server: 'https://127.0.0.1:6443', proxy-url: 'http://file:3'", {}), "http://file:3");
  for (const char* url : {"socks5://u:pw@one:1", "https://u:pw@one:1"}) {
    const auto error = proxy(server + ", proxy-url: '" + url + "'", {});
    EXPECT_NE(error.find("cluster 'c': proxy-url: '"), std::string::npos) << error;
    EXPECT_NE(error.find("is not supported"), std::string::npos) << error;
    EXPECT_EQ(error.find("pw"), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace podfence::kubeconfig
