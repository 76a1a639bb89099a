#include "enforcer/cli/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/enforcer/cli/files.h"

namespace podfence::cli {
namespace {

using ::testing::HasSubstr;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran explained(const std::string& source, const std::string& destination, Output output = Output::text,
              std::string_view more_objects = "") {
  const test::Files files;
  files.write("world.yaml", test::shop_world);
  if (!more_objects.empty()) files.write("more.yaml", more_objects);
  std::ostringstream out;
  std::ostringstream err;
  ExplainOptions options;
  options.objects = files.path();
  options.source = source;
  options.destination = destination;
  options.output = output;
  const int code = explain(options, out, err);
  return {code, out.str(), err.str()};
}

struct TargetCase {
  std::string_view text;
  std::string_view end;
  PortQuestion port;
  net::Protocol protocol;
};

TEST(Target, IsTakenApart) {
  const std::vector<TargetCase> cases{
      {"shop/web", "shop/web", {}, net::tcp},
      {"shop/web:80", "shop/web", net::Port{80}, net::tcp},
      {"shop/web:http/udp", "shop/web", "http", net::udp},
      {"shop/web/ICMP", "shop/web", {}, net::icmp},
      {"shop/tcp", "shop/tcp", {}, net::tcp},
      {"shop/80", "shop/80", {}, net::tcp},
      {"10.0.0.1", "10.0.0.1", {}, net::tcp},
      {"10.0.0.1:53/UDP", "10.0.0.1", net::Port{53}, net::udp},
      {"10.0.0.1/ICMP", "10.0.0.1", {}, net::icmp},
      {"fd00::1", "fd00::1", {}, net::tcp},
      {"fd00::1/ICMPv6", "fd00::1", {}, net::icmpv6},
      {"[fd00::1]:80/sctp", "fd00::1", net::Port{80}, net::sctp},
      {"[fd00::1]", "fd00::1", {}, net::tcp},
  };
  for (const TargetCase& c : cases) {
    const auto target = parse_target(c.text);
    ASSERT_TRUE(target) << c.text << ": " << target.error().what();
    EXPECT_EQ(target->end, c.end) << c.text;
    EXPECT_TRUE(target->port == c.port) << c.text;
    EXPECT_EQ(target->protocol, c.protocol) << c.text;
  }
}

TEST(Target, RefusesWhatItIsNot) {
  for (const std::string_view text :
       {"", "web", "web:80", "shop/web:", "shop/web:0", "shop/web:65536", "shop/web:80/quic", "shop/a/b", "/web",
        "shop/", "[fd00::1", "[fd00::1]80", "10.0.0.1/", "10.0.0:80", "shop/web:80:90"}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
}

TEST(Explain, AllowedNamesTheRule) {
  const Ran ran = explained("shop/api", "db/pg:postgres");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out,
            "allowed: Pod shop/api (10.1.0.6) -> Pod db/pg (10.2.0.7), TCP 5432\n"
            "  why: every side that policies isolate has a rule that admits it (allowed_by_rule)\n"
            "  admitted by db/pg-in ingress[0] (ingress)\n");
}

TEST(Explain, DeniedNamesTheSideThePoliciesAndTheNearestRule) {
  const Ran ran = explained("shop/api", "db/pg:80");
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out,
            "denied: Pod shop/api (10.1.0.6) -> Pod db/pg (10.2.0.7), TCP 80\n"
            "  where: ingress of Pod db/pg (10.2.0.7)\n"
            "  why: policies isolate the pod for ingress, and no rule of theirs admits it (default_deny)\n"
            "  isolated by db/pg-in (ingress)\n"
            "  nearest: db/pg-in ingress[0] admits this peer on the TCP port named postgres (5432 there), not "
            "on TCP 80\n"
            "  nearest: db/pg-in ingress[1] admits this peer on UDP 53, not on TCP 80\n");
}

struct NearCase {
  std::string_view name;
  std::string source;
  std::string destination;
  std::string_view nearest;
};

TEST(Explain, NearestRuleInWords) {
  const std::vector<NearCase> cases{
      {"other peer", "203.0.113.9", "db/pg:5432",
       "nearest: db/pg-in ingress[0] admits TCP 5432 from pods app=api of namespaces team=a, not from 203.0.113.9\n"},
      {"other port, ping", "shop/api", "db/pg/ICMP",
       "admits this peer on the TCP port named postgres (5432 there), not on ICMP\n"},
      {"other peer, egress", "shop/web", "192.0.2.200:80",
       "nearest: shop/web-out egress[0] admits TCP 80 to 192.0.2.0/24 except 192.0.2.128/25, not to 192.0.2.200\n"},
      {"a name that the destination lacks", "shop/api", "db/pg2:5432",
       "on the TCP port named postgres (the destination has none), not on TCP 5432\n"},
      {"any peer, other port", "203.0.113.9", "db/pg:53",
       "nearest: db/pg-in ingress[1] admits this peer on UDP 53, not on TCP 53\n"},
  };
  for (const NearCase& c : cases) {
    const Ran ran = explained(c.source, c.destination, Output::text,
                              "apiVersion: v1\nkind: Pod\nmetadata: {name: pg2, namespace: db, labels: {app: pg}}\n"
                              "spec: {nodeName: n2}\nstatus: {phase: Running, podIP: 10.2.0.17}\n");
    EXPECT_EQ(ran.code, 2) << c.name << ran.err;
    EXPECT_THAT(ran.out, HasSubstr(std::string(c.nearest))) << c.name;
  }
}

TEST(Explain, SaysSoWhenNoRuleIsNear) {
  const Ran ran = explained("db/pg", "shop/api:80", Output::text,
                            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
                            "metadata: {name: closed, namespace: shop}\nspec: {podSelector: {}}\n");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.out, HasSubstr("nearest: none of their rules"));
}

TEST(Explain, ReasonsWithoutPolicies) {
  EXPECT_THAT(explained("shop/api", "shop/web:80").out, HasSubstr("(not_isolated)"));
  EXPECT_THAT(explained("192.0.2.2", "db/pg:80").out, HasSubstr("(own_node)"));
  EXPECT_THAT(explained("shop/web", "shop/web:80").out, HasSubstr("(own_pod)"));
  EXPECT_THAT(explained("203.0.113.1", "203.0.113.2:80").out, HasSubstr("(no_pod)"));
  const Ran closed = explained("203.0.113.1", "10.1.0.200:80");
  EXPECT_EQ(closed.code, 2);
  EXPECT_THAT(closed.out, HasSubstr("no known pod has the destination address"));
  EXPECT_THAT(closed.out, ::testing::Not(HasSubstr("nearest")));
}

TEST(Explain, JsonHoldsTheSame) {
  EXPECT_EQ(explained("shop/api", "db/pg:80", Output::json).out,
            R"({"from":"shop/api","to":"db/pg","port":80,"protocol":"TCP","from_ip":"10.1.0.6","to_ip":"10.2.0.7",)"
            R"("verdict":"deny","direction":"ingress","reason":"default_deny",)"
            R"("text":"policies isolate the pod for ingress, and no rule of theirs admits it",)"
            R"("policies":[{"namespace":"db","name":"pg-in","direction":"ingress"}],)"
            R"("nearest":[{"policy":"db/pg-in","rule":"ingress[0]","fits":"peer",)"
            R"("text":"admits this peer on the TCP port named postgres (5432 there), not on TCP 80"},)"
            R"({"policy":"db/pg-in","rule":"ingress[1]","fits":"peer",)"
            R"("text":"admits this peer on UDP 53, not on TCP 80"}]})"
            "\n");
  EXPECT_THAT(explained("shop/api", "db/pg:5432", Output::json).out,
              HasSubstr(R"("rule":"ingress[0]"}],"nearest":[])"));
}

TEST(Explain, ErrorsAreOne) {
  for (const auto& [source, destination, says] :
       std::vector<std::array<std::string, 3>>{{"shop/nobody", "db/pg:80", "there is no Pod shop/nobody"},
                                               {"web", "db/pg:80", "\"web\" is neither"},
                                               {"shop/web", "db/pg", "TCP needs a port"},
                                               {"shop/web", "db/pg:80/quic", "\"quic\" is no protocol"},
                                               {"shop/web", "db/pg:http", "no TCP port named \"http\""}}) {
    const Ran ran = explained(source, destination);
    EXPECT_EQ(ran.code, 1) << says;
    EXPECT_EQ(ran.out, "") << says;
    EXPECT_THAT(ran.err, HasSubstr(says));
  }
}

}  // namespace
}  // namespace podfence::cli
