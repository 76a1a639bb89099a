// Certificates that change while the agent runs: rows T9 and T10.
#include "enforcer/kube/tls.h"

#include <gtest/gtest.h>

#include "tests/enforcer/kube/certificates.h"
#include "tests/enforcer/kubeconfig/files.h"

namespace podfence::kube {
namespace {

using namespace std::chrono_literals;
using test::Authority;

struct Rotation : ::testing::Test {
  Rotation() {
    config.origin = "test";
    config.ca.file = files.write("ca", authority.pem());
    const auto mine = authority.sign({});
    config.certificate.file = files.write("cert", mine.certificate);
    config.key.file = files.write("key", mine.key);
    credentials.emplace(*kubeconfig::Credentials::open(config, now));
    source.emplace(*TlsSource::open(*credentials, now));
  }
  TlsContext after_a_minute() { return source->context(now += 1min); }
  test::Files files;
  Authority authority;
  kubeconfig::ClientConfig config;
  kubeconfig::Credentials::Time now{100h};
  std::optional<kubeconfig::Credentials> credentials;
  std::optional<TlsSource> source;
};

TEST_F(Rotation, T9_a_new_authority_is_for_new_connections_only) {
  const auto before = source->context(now);
  EXPECT_EQ(after_a_minute(), before) << "the same content";
  files.write("ca", Authority().pem());
  EXPECT_NE(after_a_minute(), before);
  EXPECT_FALSE(source->took_new_certificate()) << "connections that are open stay";
}

TEST_F(Rotation, T9_an_authority_that_cannot_be_read_leaves_the_old_one_in_force) {
  const auto before = source->context(now);
  files.write("ca", "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n");
  EXPECT_EQ(after_a_minute(), before);
  EXPECT_NE(source->problem().find("/ca"), std::string::npos) << source->problem();
  files.write("ca", "");
  EXPECT_EQ(after_a_minute(), before);
  files.write("ca", Authority().pem());
  EXPECT_NE(after_a_minute(), before);
  EXPECT_EQ(source->problem(), "");
}

TEST_F(Rotation, T10_a_new_certificate_of_our_own_ends_all_connections) {
  const auto before = source->context(now);
  const auto fresh = authority.sign({});
  files.write("cert", fresh.certificate);
  EXPECT_EQ(after_a_minute(), before) << "half of a rotation: the key does not belong to it yet";
  EXPECT_FALSE(source->took_new_certificate());
  files.write("key", fresh.key);
  EXPECT_NE(after_a_minute(), before);
  EXPECT_TRUE(source->took_new_certificate());
  EXPECT_FALSE(source->took_new_certificate()) << "once";
}

TEST(Tls, what_is_no_certificate_is_refused_with_its_name) {
  kubeconfig::ClientConfig config;
  config.origin = "context 'x' of /k";
  config.ca.file = "/etc/ca";
  const auto made = make_tls(config, {.ca = "garbage", .certificate = {}, .key = {}});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().what().find("context 'x' of /k: /etc/ca"), std::string::npos) << made.error().what();
}

}  // namespace
}  // namespace podfence::kube
