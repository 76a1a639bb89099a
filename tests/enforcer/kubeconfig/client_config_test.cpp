// How the API server is found: rows T5, T11 and T12. A test's name begins with its row.
#include "enforcer/kubeconfig/client_config.h"

#include <gtest/gtest.h>

#include "tests/enforcer/kubeconfig/files.h"

namespace podfence::kubeconfig {
namespace {

Environment variables(std::map<std::string, std::string> all) {
  return [all = std::move(all)](const std::string& name) -> std::optional<std::string> {
    const auto at = all.find(name);
    return at == all.end() ? std::nullopt : std::optional(at->second);
  };
}

std::string config_of(const std::string& cluster, const std::string& user, const std::string& more = "") {
  return "apiVersion: v1\nkind: Config\ncurrent-context: main\nclusters:\n- name: c\n  cluster: {" + cluster +
         "}\nusers:\n- name: u\n  user: {" + user + "}\ncontexts:\n- name: main\n  context: {cluster: c, user: u}\n" +
         more;
}

struct Kubeconfig : ::testing::Test {
  Result<ClientConfig> load_text(const std::string& text, const std::string& context = "") {
    return from_files({files.write("config", text)}, context);
  }
  std::string error_of(const std::string& cluster, const std::string& user) {
    const auto loaded = load_text(config_of(cluster, user));
    return loaded ? "" : loaded.error().what();
  }
  test::Files files;
};

TEST(InCluster, T5_address_and_files_of_the_service_account) {
  const auto config =
      in_cluster(variables({{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "443"}}), "/sa");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->host + " " + config->port + " " + config->server_name, "fd00::1 443 fd00::1");
  EXPECT_EQ(config->ca.file + " " + config->token.file, "/sa/ca.crt /sa/token");
  for (const auto& missing : {variables({}), variables({{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}}),
                              variables({{"KUBERNETES_SERVICE_HOST", ""}, {"KUBERNETES_SERVICE_PORT", "443"}})}) {
    EXPECT_FALSE(in_cluster(missing, "/sa"));
  }
  EXPECT_FALSE(
      in_cluster(variables({{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}, {"KUBERNETES_SERVICE_PORT", "70000"}}), "/sa"));
}

TEST_F(Kubeconfig, T11_data_counts_before_files_and_files_lie_beside) {
  const auto config = load_text(config_of(
      "server: 'https://api.example:6443/prefix/', certificate-authority: pki/ca.crt, certificate-authority-data: Y2E=",
      "client-certificate: /abs/cert, client-key: key.pem"));
  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->host + " " + config->port + " " + config->base_path, "api.example 6443 /prefix");
  EXPECT_EQ(config->ca, (Material{"ca", ""}));
  EXPECT_EQ(config->certificate, (Material{"", "/abs/cert"}));
  EXPECT_EQ(config->key, (Material{"", files.path("key.pem")}));
}

TEST_F(Kubeconfig, T11_json_and_fields_that_nobody_knows_are_fine) {
  const auto config =
      load_text(R"({"kind":"Config","extra":[1],"current-context":"m","clusters":[{"name":"c","cluster":)"
                R"({"server":"https://[fd00::1]","what":{"ever":1}}}],"users":[{"name":"u","user":{"token":"t"}}],)"
                R"("contexts":[{"name":"m","context":{"cluster":"c","user":"u","namespace":"x"}}]})");
  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->host + " " + config->port, "fd00::1 443");
  EXPECT_EQ(config->token.data, "t");
}

TEST_F(Kubeconfig, T11_of_what_several_files_have_the_first_counts) {
  const auto first = files.write("one/config",
                                 "clusters:\n- name: c\n  cluster: {server: 'https://one', certificate-authority: ca}\n"
                                 "current-context: main\n");
  const auto second = files.write("two/config", config_of("server: 'https://two'", "tokenFile: token"));
  const auto list = first + "::/nowhere/config:" + second;
  const auto config = load({}, variables({{"KUBECONFIG", list}}));
  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->host, "one");
  EXPECT_EQ(config->ca.file, files.path("one/ca")) << "beside the file that names it";
  EXPECT_EQ(config->token.file, files.path("two/token"));
  const auto chosen = load({.file = second, .context = ""}, variables({{"KUBECONFIG", list}}));
  EXPECT_EQ(chosen->host, "two") << "the option counts before the variable";
  EXPECT_FALSE(load({}, variables({{"KUBECONFIG", "/nowhere/a:/nowhere/b"}})));
  EXPECT_FALSE(load({.file = "/nowhere", .context = ""}, variables({})));
}

TEST_F(Kubeconfig, T11_another_context) {
  const auto text =
      config_of("server: 'https://one'", "token: a",
                "- name: other\n  context: {cluster: c, user: ''}\n- name: lost\n  context: {cluster: d}\n");
  EXPECT_TRUE(load_text(text, "other")->token.data.empty());
  EXPECT_NE(load_text(text, "lost").error().what().find("cluster 'd'"), std::string::npos);
  EXPECT_NE(load_text(text, "none").error().what().find("context 'none'"), std::string::npos);
  EXPECT_FALSE(load({.file = "", .context = "x"}, variables({})));
}

TEST_F(Kubeconfig, T11_errors_name_the_file_and_the_field) {
  const std::string server = "server: 'https://one'";
  const std::string cluster = "config: cluster 'c'";
  const std::string user = "config: user 'u'";
  struct Row {
    std::string cluster;
    std::string user;
    std::string place;
    std::string field;
  };
  for (const auto& row : {
           Row{"server: 'http://one'", "", cluster, "server"},
           Row{"server: 'https://'", "", cluster, "server"},
           Row{"server: 'https://one:0'", "", cluster, "server"},
           Row{"server: 'https://me@one'", "", cluster, "server"},
           Row{"server: 'https://[fd00::1'", "", cluster, "server"},
           Row{"", "", cluster, "server"},
           Row{server + ", certificate-authority-data: '***'", "", cluster, "certificate-authority-data"},
           Row{server + ", insecure-skip-tls-verify: true, certificate-authority: ca", "", cluster,
               "insecure-skip-tls"},
           Row{server + ", proxy-url: 'socks5://proxy'", "", cluster, "proxy-url"},
           Row{server, "client-certificate: c", user, "client-key"},
           Row{server, "token: t, username: u, password: p", user, "more than one way"},
       }) {
    const auto error = error_of(row.cluster, row.user);
    EXPECT_NE(error.find(row.place), std::string::npos) << error;
    EXPECT_NE(error.find(row.field), std::string::npos) << error;
  }
  EXPECT_NE(load_text("clusters: 7").error().what().find("config: clusters"), std::string::npos);
  EXPECT_NE(load_text("clusters: [{cluster: {}}]").error().what().find("clusters[0]"), std::string::npos);
  EXPECT_FALSE(load_text("a: &x [*x]"));
  EXPECT_FALSE(load_text("- 1"));
  EXPECT_FALSE(load_text(""));
}

TEST_F(Kubeconfig, T11_a_server_that_is_not_verified_is_said_so_in_so_many_words) {
  EXPECT_TRUE(load_text(config_of("server: 'https://one', insecure-skip-tls-verify: true", ""))->insecure);
  EXPECT_FALSE(load_text(config_of("server: 'https://one'", ""))->insecure);
  EXPECT_EQ(load_text(config_of("server: 'https://one', tls-server-name: two", ""))->server_name, "two");
}

TEST_F(Kubeconfig, T12_credential_plugins_are_refused) {
  const std::string server = "server: 'https://one'";
  for (const char* plugin : {"exec: {command: x, apiVersion: v1}", "auth-provider: {name: gcp}"}) {
    const auto error = error_of(server, plugin);
    EXPECT_NE(error.find("runs no credential plugins"), std::string::npos) << error;
    EXPECT_NE(error.find("user 'u'"), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace podfence::kubeconfig
