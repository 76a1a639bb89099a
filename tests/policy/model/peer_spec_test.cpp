#include "policy/model/peer_spec.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"

namespace podfence::model {
namespace {

using test::ip;

const api::Labels blue{{"kubernetes.io/metadata.name", "shop"}, {"team", "blue"}};

api::Pod web() {
  return test::pod("web")
      .ns("shop")
      .label("app", "web")
      .ip("10.0.0.1")
      .port("http", 8080)
      .port("dns", 53, net::udp)
      .object();
}

PeerSpec block(const std::vector<net::IpRange>& ranges) {
  return {Ranges{ranges}, std::nullopt};
}

TEST(PeerSpec, pods_of_a_named_namespace) {  // P-02, P-03
  const api::Pod pod = web();
  EXPECT_EQ(match({PodsOf{"shop", test::labels({{"app", "web"}})}, {}}, pod.ips[0], &pod, blue), 0);
  EXPECT_EQ(match({PodsOf{"shop", test::everything()}, {}}, pod.ips[0], &pod, blue), 0);
  EXPECT_FALSE(match({PodsOf{"other", test::everything()}, {}}, pod.ips[0], &pod, blue));
  EXPECT_FALSE(match({PodsOf{"shop", test::labels({{"app", "db"}})}, {}}, pod.ips[0], &pod, blue));
}

TEST(PeerSpec, pods_of_namespaces_by_label) {  // P-04, P-06
  const api::Pod pod = web();
  const auto teams = [](const char* team) { return test::labels({{"team", team}}); };
  EXPECT_EQ(match({PodsOf{teams("blue"), test::everything()}, {}}, pod.ips[0], &pod, blue), 0);
  EXPECT_FALSE(match({PodsOf{teams("red"), test::everything()}, {}}, pod.ips[0], &pod, blue));
  EXPECT_FALSE(match({PodsOf{teams("blue"), test::labels({{"app", "db"}})}, {}}, pod.ips[0], &pod, blue));
}

TEST(PeerSpec, every_pod_is_not_every_address) {  // P-05
  EXPECT_FALSE(match({PodsOf{test::everything(), test::everything()}, {}}, ip("10.0.0.1"), nullptr, {}));
}

TEST(PeerSpec, a_block_matches_whoever_owns_the_address) {  // B-01, B-14
  const api::Pod pod = web();
  const PeerSpec spec = block({{ip("10.0.0.0"), ip("10.0.0.3")}, {ip("10.0.0.8"), ip("10.0.0.8")}});
  EXPECT_EQ(match(spec, ip("10.0.0.1"), &pod, blue), 0);
  EXPECT_EQ(match(spec, ip("10.0.0.3"), nullptr, {}), 0);
  EXPECT_EQ(match(spec, ip("10.0.0.8"), nullptr, {}), 0);
  for (const char* outside : {"9.255.255.255", "10.0.0.4", "10.0.0.7", "10.0.0.9", "::a00:1"}) {
    EXPECT_FALSE(match(spec, ip(outside), nullptr, {})) << outside;
  }
}

TEST(PeerSpec, a_named_port_is_the_number_of_the_pod) {  // T-09, T-13, T-14
  const api::Pod pod = web();
  const auto spec = [](const char* name, net::Protocol protocol) {
    return PeerSpec{PodsOf{"shop", test::everything()}, NamedPort{name, protocol}};
  };
  EXPECT_EQ(match(spec("http", net::tcp), pod.ips[0], &pod, blue), 8080);
  EXPECT_FALSE(match(spec("http", net::udp), pod.ips[0], &pod, blue));
  EXPECT_FALSE(match(spec("dns", net::tcp), pod.ips[0], &pod, blue));
  EXPECT_FALSE(match(spec("smtp", net::tcp), pod.ips[0], &pod, blue));
}

TEST(PeerSpec, a_named_port_of_a_block_is_of_its_pods_only) {  // T-22
  const api::Pod pod = web();
  PeerSpec spec = block({{ip("10.0.0.0"), ip("10.0.0.255")}});
  EXPECT_TRUE(is_block(spec));
  spec.port = NamedPort{"http", net::tcp};
  EXPECT_FALSE(is_block(spec));
  EXPECT_EQ(match(spec, ip("10.0.0.1"), &pod, blue), 8080);
  EXPECT_FALSE(match(spec, ip("10.0.0.2"), nullptr, {}));
  EXPECT_FALSE(match(spec, ip("10.0.1.1"), &pod, blue));
}

}  // namespace
}  // namespace podfence::model
