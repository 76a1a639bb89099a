// Objects that are not valid: as with manifests, the last good content stays, or the narrow reading closes.
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

reflector::Resource policies() {
  return {api::Kind::network_policy, "networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"};
}

std::string policy_event(const std::string& type, const std::string& revision, const std::string& port,
                         const std::string& uid = "one") {
  return R"({"type":")" + type +
         R"(","object":{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1","metadata":{"name":"web",)"
         R"("namespace":"shop","uid":")" +
         uid + R"(","resourceVersion":")" + revision + R"("},"spec":{"podSelector":{},"ingress":[{"ports":[{"port":)" +
         port + "}]}]}}}\n";
}

struct Policies : Script {
  Policies() : Script(policies()) {
    refuse_watch_list();
    answer(200, R"({"metadata":{"resourceVersion":"100"},"items":[]})");
    head(200);
  }
  /// The port that is let in; 0 = none.
  int port() const {
    const auto* policy = cluster.find_policy("shop", "web");
    if (policy == nullptr || policy->ingress.empty() || policy->ingress.front().ports.empty()) return 0;
    const auto* range = std::get_if<net::PortRange>(&policy->ingress.front().ports.front().port);
    return range == nullptr ? 0 : range->first.number;
  }
  const reflector::Problem* problem() const {
    const auto at = machine.problems().find("NetworkPolicy shop/web");
    return at == machine.problems().end() ? nullptr : &at->second;
  }
};

TEST(Invalid, the_last_good_content_stays_and_is_reported) {
  Policies s;
  s.bytes(policy_event("ADDED", "101", "80"));
  s.bytes(policy_event("MODIFIED", "102", "99999"));
  EXPECT_EQ(s.port(), 80);
  ASSERT_NE(s.problem(), nullptr);
  EXPECT_TRUE(s.problem()->stale);
  EXPECT_NE(s.problem()->messages.front().find("spec.ingress[0].ports[0].port"), std::string::npos);
  EXPECT_EQ(s.cursor(), "102");
  s.bytes(policy_event("MODIFIED", "103", "81"));
  EXPECT_EQ(s.port(), 81);
  EXPECT_EQ(s.problem(), nullptr);
}

TEST(Invalid, what_was_never_good_closes) {
  Policies s;
  s.bytes(policy_event("ADDED", "101", "99999"));
  ASSERT_NE(s.cluster.find_policy("shop", "web"), nullptr) << "it isolates all the same";
  EXPECT_EQ(s.port(), 0);
  ASSERT_NE(s.problem(), nullptr);
  EXPECT_FALSE(s.problem()->stale);
  s.bytes(policy_event("DELETED", "102", "99999"));
  EXPECT_EQ(s.cluster.find_policy("shop", "web"), nullptr);
  EXPECT_EQ(s.problem(), nullptr);
}

TEST(Invalid, another_object_of_the_same_name_has_no_last_good_content) {
  Policies s;
  s.bytes(policy_event("ADDED", "101", "80"));
  s.bytes(policy_event("ADDED", "102", "99999", "two"));
  EXPECT_EQ(s.port(), 0);
  EXPECT_FALSE(s.problem()->stale);
}

TEST(Invalid, a_field_that_is_there_twice_and_a_name_that_is_none) {
  Policies s;
  s.bytes(policy_event("ADDED", "101", "80"));
  s.bytes(policy_event("MODIFIED", "102", R"(80,"port":81)"));
  EXPECT_EQ(s.port(), 80);
  EXPECT_TRUE(s.problem()->stale);
  s.bytes(R"({"type":"ADDED","object":{"kind":"NetworkPolicy","metadata":{"name":"a/b","namespace":"shop",)"
          R"("resourceVersion":"103"},"spec":{"podSelector":{}}}})");
  EXPECT_EQ(s.cluster.policies().size(), 1U);
  EXPECT_EQ(s.machine.problems().size(), 2U);
  EXPECT_EQ(s.cursor(), "103");
}

}  // namespace
}  // namespace podfence::test
