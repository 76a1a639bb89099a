// Files that are read again: rows T7, T9 and T10 as far as they are about files.
#include "enforcer/kubeconfig/credentials.h"

#include <gtest/gtest.h>

#include "tests/enforcer/kubeconfig/files.h"

namespace podfence::kubeconfig {
namespace {

using namespace std::chrono_literals;

struct Reading : ::testing::Test {
  Reading() {
    // As a kubelet mounts them: a link to a directory that is swapped.
    write("1", "first");
    swap("1");
    config.token.file = files.path("token");
    std::filesystem::create_symlink("data/token", files.path("token"));
  }
  void write(const std::string& version, const std::string& token) {
    files.write(version + "/token", " " + token + "\n");
  }
  void swap(const std::string& version) {
    std::filesystem::create_symlink(version, files.path("data.new"));
    std::filesystem::rename(files.path("data.new"), files.path("data"));
  }
  Credentials open() {
    auto opened = Credentials::open(config, now);
    EXPECT_TRUE(opened);
    return std::move(*opened);
  }
  test::Files files;
  ClientConfig config;
  Credentials::Time now{100h};
};

TEST_F(Reading, T7_a_token_is_read_again_before_a_minute_is_over) {
  auto credentials = open();
  EXPECT_EQ(credentials.authorization(now), "Bearer first");
  write("2", "second");
  swap("2");
  EXPECT_EQ(credentials.authorization(now + 49s), "Bearer first");
  EXPECT_EQ(credentials.authorization(now + 50s), "Bearer second");
}

TEST_F(Reading, T7_a_file_that_is_gone_or_empty_leaves_the_token_in_force) {
  auto credentials = open();
  std::filesystem::remove(files.path("data"));
  EXPECT_EQ(credentials.authorization(now + 1min), "Bearer first");
  EXPECT_NE(credentials.problem().find("token"), std::string::npos);
  write("2", "");
  swap("2");
  EXPECT_EQ(credentials.authorization(now + 2min), "Bearer first");
  EXPECT_NE(credentials.problem().find("is empty"), std::string::npos);
  write("3", "two\nlines");
  swap("3");
  EXPECT_EQ(credentials.authorization(now + 3min), "Bearer first") << "it would end the header";
  write("4", "fourth");
  swap("4");
  EXPECT_EQ(credentials.authorization(now + 4min), "Bearer fourth");
  EXPECT_EQ(credentials.problem(), "");
}

TEST_F(Reading, T7_a_token_that_was_refused_is_read_again_at_once_unless_it_is_newer) {
  auto credentials = open();
  write("2", "second");
  swap("2");
  credentials.refused(now + 1s);
  EXPECT_EQ(credentials.authorization(now + 2s), "Bearer second");
  write("3", "third");
  swap("3");
  credentials.refused(now + 1s);  // sent before the token was read
  EXPECT_EQ(credentials.authorization(now + 3s), "Bearer second");
}

TEST_F(Reading, T7_without_a_token_at_the_start_there_is_no_start) {
  config.token.file = files.path("nowhere");
  const auto opened = Credentials::open(config, now);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().what().find("nowhere"), std::string::npos);
  config.token.file = files.write("empty", "\n");
  EXPECT_FALSE(Credentials::open(config, now));
}

TEST_F(Reading, T9_T10_certificates_are_read_again_every_half_minute) {
  config.ca.file = files.write("ca", "one");
  config.certificate.file = files.write("cert", "cert one");
  config.key.data = "key";
  auto credentials = open();
  EXPECT_EQ(credentials.tls(now).ca, "one");
  files.write("ca", "two");
  EXPECT_EQ(credentials.tls(now + 29s).ca, "one");
  EXPECT_EQ(credentials.tls(now + 30s).ca, "two");
  EXPECT_EQ(credentials.tls(now + 30s).certificate, "cert one");
  files.write("cert", "");
  EXPECT_EQ(credentials.tls(now + 60s).certificate, "cert one") << "an empty file leaves in force what was";
  EXPECT_NE(credentials.problem().find("cert: is empty"), std::string::npos);
  std::filesystem::remove(files.path("ca"));
  files.write("cert", "cert two");
  EXPECT_EQ(credentials.tls(now + 90s).ca, "two");
}

TEST(Credentials, a_name_and_a_password) {
  ClientConfig config;
  config.user = "me";
  config.password = "secret";
  auto credentials = Credentials::open(config, {});
  EXPECT_EQ(credentials->authorization({}), "Basic bWU6c2VjcmV0");
  config.user.clear();
  EXPECT_EQ(Credentials::open(config, {})->authorization({}), "");
}

}  // namespace
}  // namespace podfence::kubeconfig
