#include "policy/api/syntax.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "policy/api/objects.h"
#include "tests/support/builders.h"

namespace podfence::api {
namespace {

struct Case {
  std::string text;
  bool subdomain;
  bool dns_label;
  bool label_key;
  bool label_value;
  bool port_name;
};

TEST(Syntax, names) {
  const std::string a63(63, 'a');
  const std::string a64(64, 'a');
  const std::vector<Case> cases{
      {"", false, false, false, true, false},
      {"a", true, true, true, true, true},
      {"7", true, true, true, true, false},
      {"web-1", true, true, true, true, true},
      {"web.1", true, false, true, true, false},
      {"Web", false, false, true, true, false},
      {"a_b", false, false, true, true, false},
      {"-a", false, false, false, false, false},
      {"a-", false, false, false, false, false},
      {"a--b", true, true, true, true, false},
      {".a", false, false, false, false, false},
      {"a.", false, false, false, false, false},
      {"a..b", false, false, true, true, false},
      {"a b", false, false, false, false, false},
      {"a/b", false, false, true, false, false},
      {"a.b/c_D", false, false, true, false, false},
      {"A/b", false, false, false, false, false},
      {"a/b/c", false, false, false, false, false},
      {"/a", false, false, false, false, false},
      {"a/", false, false, false, false, false},
      {"\xc3\xa9", false, false, false, false, false},
      {std::string("a\0b", 3), false, false, false, false, false},
      {"abcdefghijklmno", true, true, true, true, true},
      {"abcdefghijklmnop", true, true, true, true, false},
      {"1234-5", true, true, true, true, false},
      {a63, true, true, true, true, false},
      {a64, true, false, false, false, false},
      {a63 + "/" + a63, false, false, true, false, false},
      {std::string(253, 'a') + "/b", false, false, true, false, false},
      {std::string(254, 'a') + "/b", false, false, false, false, false},
      {std::string(254, 'a'), false, false, false, false, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(is_dns_subdomain(c.text), c.subdomain);
    EXPECT_EQ(is_dns_label(c.text), c.dns_label);
    EXPECT_EQ(is_label_key(c.text), c.label_key);
    EXPECT_EQ(is_label_value(c.text), c.label_value);
    EXPECT_EQ(is_port_name(c.text), c.port_name);
  }
}

TEST(Syntax, timestamps) {
  const std::vector<std::pair<std::string, std::optional<std::int64_t>>> cases{
      {"1970-01-01T00:00:00Z", 0},
      {"2024-02-29T12:34:56Z", 1709210096},
      {"2024-02-29T12:34:56.789Z", 1709210096},
      {"2024-02-29T14:34:56+02:00", 1709210096},
      {"2024-02-29T11:04:56-01:30", 1709210096},
      {"1969-12-31T23:59:59Z", -1},
      {"9999-12-31T23:59:59Z", 253402300799},
      {"2023-02-29T00:00:00Z", std::nullopt},
      {"2024-13-01T00:00:00Z", std::nullopt},
      {"2024-00-01T00:00:00Z", std::nullopt},
      {"2024-01-01T24:00:00Z", std::nullopt},
      {"2024-01-01T00:60:00Z", std::nullopt},
      {"2024-01-01T00:00:00", std::nullopt},
      {"2024-01-01T00:00:00.Z", std::nullopt},
      {"2024-01-01T00:00:00+2:00", std::nullopt},
      {"2024-01-01T00:00:00Zx", std::nullopt},
      {"2024-01-01", std::nullopt},
      {"2024-1-1T00:00:00Z", std::nullopt},
      {"now", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& [text, seconds] : cases) EXPECT_EQ(parse_timestamp(text), seconds) << text;
}

TEST(Objects, named_ports_go_by_protocol_and_the_first_wins) {
  const Pod pod = test::pod("p").port("dns", 53).port("dns", 5353, net::udp).port("dns", 54).object();
  EXPECT_EQ(pod.named_port("dns", net::tcp), net::Port{53});    // T-08
  EXPECT_EQ(pod.named_port("dns", net::udp), net::Port{5353});  // T-15
  EXPECT_EQ(pod.named_port("dns", net::sctp), std::nullopt);    // T-13
  EXPECT_EQ(pod.named_port("http", net::tcp), std::nullopt);    // T-14
  EXPECT_EQ(pod.named_port("", net::tcp), std::nullopt);
}

TEST(Objects, which_pods_policy_can_select) {
  EXPECT_TRUE(test::pod("p").ip("10.0.0.1").object().selectable());
  EXPECT_TRUE(test::pod("p").ip("10.0.0.1").phase(Phase::pending).object().selectable());
  EXPECT_TRUE(test::pod("p").ip("10.0.0.1").phase(Phase::unknown).object().selectable());
  EXPECT_TRUE(test::pod("p").ip("10.0.0.1").terminating().object().selectable());             // D-14
  EXPECT_FALSE(test::pod("p").object().selectable());                                         // D-15
  EXPECT_FALSE(test::pod("p").ip("10.0.0.1").host_network().object().selectable());           // N-05
  EXPECT_FALSE(test::pod("p").ip("10.0.0.1").phase(Phase::succeeded).object().selectable());  // D-12
  EXPECT_FALSE(test::pod("p").ip("10.0.0.1").phase(Phase::failed).object().selectable());     // D-12
}

TEST(Objects, keys_and_labels) {
  EXPECT_EQ(key_of(Object(test::node("n"))).text(), "Node n");
  EXPECT_EQ(key_of(Object(test::ns("shop"))).text(), "Namespace shop");
  EXPECT_EQ(key_of(Object(test::pod("p").ns("shop"))).text(), "Pod shop/p");
  EXPECT_EQ(key_of(Object(test::policy("p").ns("shop"))).text(), "NetworkPolicy shop/p");
  const Labels labels{{"a", ""}, {"b", "1"}};
  EXPECT_EQ(find_label(labels, "a"), "");  // L-09
  EXPECT_EQ(find_label(labels, "b"), "1");
  EXPECT_EQ(find_label(labels, "c"), std::nullopt);
  EXPECT_EQ(find_label({}, "a"), std::nullopt);
}

}  // namespace
}  // namespace podfence::api
