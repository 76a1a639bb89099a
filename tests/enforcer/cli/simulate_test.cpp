#include "enforcer/cli/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "enforcer/cli/judge.h"
#include "tests/enforcer/cli/files.h"

namespace podfence::cli {
namespace {

using ::testing::HasSubstr;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran simulated(SimulateOptions options) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = simulate(options, out, err);
  return {code, out.str(), err.str()};
}

Ran simulated_flows(const std::string& name, std::string_view flows, Output output = Output::json) {
  const test::Files files;
  files.write("objects/world.yaml", test::shop_world);
  SimulateOptions options;
  options.objects = files.path("objects");
  options.flows = files.write(name, flows);
  options.output = output;
  return simulated(options);
}

struct FlowCase {
  std::string_view flow;
  std::string_view answer;
};

TEST(Simulate, AnswersFlowsInTheirOrder) {
  const std::vector<FlowCase> cases{
      {"{from: shop/api, to: db/pg, port: 5432}",
       R"({"from":"shop/api","to":"db/pg","port":5432,"protocol":"TCP","verdict":"allow","direction":"ingress",)"
       R"("policies":["db/pg-in"],"reason":"allowed_by_rule","from_ip":"10.1.0.6","to_ip":"10.2.0.7"})"},
      {"{from: shop/api, to: db/pg, port: postgres, protocol: tcp}",
       R"({"from":"shop/api","to":"db/pg","port":"postgres","protocol":"TCP","verdict":"allow","direction":"ingress",)"
       R"("policies":["db/pg-in"],"reason":"allowed_by_rule","from_ip":"10.1.0.6","to_ip":"10.2.0.7"})"},
      {"{from: shop/web, to: db/pg, port: '5432'}",
       R"({"from":"shop/web","to":"db/pg","port":5432,"protocol":"TCP","verdict":"deny","direction":"egress",)"
       R"("policies":["shop/web-out"],"reason":"default_deny","from_ip":"10.1.0.5","to_ip":"10.2.0.7"})"},
      {"{from: 203.0.113.9, to: db/pg, port: 53, protocol: UDP}",
       R"({"from":"203.0.113.9","to":"db/pg","port":53,"protocol":"UDP","verdict":"allow","direction":"ingress",)"
       R"("policies":["db/pg-in"],"reason":"allowed_by_rule","from_ip":"203.0.113.9","to_ip":"10.2.0.7"})"},
      {"{from: 'fd00:1::6', to: 'fd00:2::7', protocol: ICMP}",
       R"({"from":"fd00:1::6","to":"fd00:2::7","port":null,"protocol":"ICMP","verdict":"deny","direction":"ingress",)"
       R"("policies":["db/pg-in"],"reason":"default_deny","from_ip":"fd00:1::6","to_ip":"fd00:2::7"})"},
      {"{from: 192.0.2.2, to: db/pg, port: 1}",
       R"({"from":"192.0.2.2","to":"db/pg","port":1,"protocol":"TCP","verdict":"allow","direction":"ingress",)"
       R"("policies":[],"reason":"own_node","from_ip":"192.0.2.2","to_ip":"10.2.0.7"})"},
      {"{from: shop/api, to: 10.1.0.99, port: 1}",
       R"({"from":"shop/api","to":"10.1.0.99","port":1,"protocol":"TCP","verdict":"deny","direction":"ingress",)"
       R"("policies":[],"reason":"fail_closed","from_ip":"10.1.0.6","to_ip":"10.1.0.99"})"},
  };
  std::string flows;
  std::string expected = "[\n";
  for (const FlowCase& c : cases) {
    flows.append("- ").append(c.flow).append("\n");
    if (expected.size() > 2) expected += ",\n";
    expected += c.answer;
  }
  const Ran ran = simulated_flows("flows.yaml", flows);
  EXPECT_EQ(ran.out, expected + "\n]\n");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");

  const Ran again = simulated_flows("again.json", ran.out);  // its own output is a list of questions
  EXPECT_EQ(again.out, ran.out) << again.err;
}

TEST(Simulate, TakesAListInAMapAndPrintsText) {
  const Ran ran = simulated_flows("flows.yml", "flows: [{from: shop/web, to: 192.0.2.9, port: 443}]", Output::text);
  EXPECT_EQ(ran.out,
            "allow shop/web -> 192.0.2.9 443/TCP  allowed_by_rule shop/web-out\n"
            "1 flow: 1 allowed, 0 denied, 0 where program and evaluator differ\n");
  EXPECT_EQ(ran.code, 0);
}

struct BadFlows {
  std::string_view name;
  std::string file;
  std::string_view text;
  std::vector<std::string_view> says;
};

TEST(Simulate, NamesFileAndFieldOfBadFlows) {
  const std::vector<BadFlows> cases{
      {"no list", "flows.yaml", "from: shop/web\n", {"flows.yaml", "expected a list"}},
      {"empty", "flows.yaml", "", {"flows.yaml", "no document"}},
      {"two documents", "flows.yaml", "[]\n---\n[]\n", {"flows.yaml", "more than one"}},
      {"no YAML", "flows.yaml", "- {from: [\n", {"flows.yaml"}},
      {"no JSON", "flows.json", "- from: x\n", {"flows.json", "no JSON"}},
      {"item is no map", "flows.yaml", "- shop/web\n", {"flows.yaml: line 1: [0]", "expected a flow"}},
      {"unknown field", "flows.yaml", "- {from: shop/api, to: db/pg, prt: 1}\n", {"[0].prt", "unknown field"}},
      {"from is missing", "flows.yaml", "- {to: db/pg, port: 1}\n", {"[0]", "from is missing"}},
      {"to is a number", "flows.yaml", "- {from: shop/api, to: 3, port: 1}\n", {"[0].to", "3"}},
      {"port 0", "flows.yaml", "- {from: shop/api, to: db/pg, port: 0}\n", {"[0].port", "1 to 65535"}},
      {"port 65536", "flows.json", R"([{"from":"shop/api","to":"db/pg","port":65536}])", {"[0].port", "65536"}},
      {"port is a list", "flows.yaml", "- {from: shop/api, to: db/pg, port: [1]}\n", {"[0].port"}},
      {"protocol", "flows.yaml", "- {from: shop/api, to: db/pg, port: 1, protocol: TPC}\n", {"[0].protocol", "TPC"}},
      {"no such pod", "flows.yaml", "- {from: shop/nobody, to: db/pg, port: 1}\n", {"[0]", "from", "shop/nobody"}},
      {"neither pod nor IP",
       "flows.yaml",
       "- {from: shop/api, to: pg, port: 1}\n",
       {"[0]", "to", "\"pg\"", "NAMESPACE/POD"}},
      {"ended pod", "flows.yaml", "- {from: shop/api, to: db/old, port: 1}\n", {"db/old", "ended"}},
      {"pod without address", "flows.yaml", "- {from: shop/api, to: db/new, port: 1}\n", {"db/new", "no address"}},
      {"port is missing",
       "flows.yaml",
       "- {from: shop/api, to: db/pg}\n",
       {"port", "TCP needs a port", "postgres = 5432"}},
      {"port of ICMP", "flows.yaml", "- {from: shop/api, to: db/pg, port: 1, protocol: ICMP}\n", {"ICMP has no ports"}},
      {"no such name", "flows.yaml", "- {from: shop/api, to: db/pg, port: http}\n", {"http", "postgres = 5432"}},
      {"name of another protocol",
       "flows.yaml",
       "- {from: shop/api, to: db/pg, port: postgres, protocol: UDP}\n",
       {"UDP port named", "it has none"}},
      {"name at an address", "flows.yaml", "- {from: shop/api, to: 192.0.2.9, port: http}\n", {"192.0.2.9 is no pod"}},
      {"families", "flows.yaml", "- {from: shop/web, to: 'fd00:2::7', port: 1}\n", {"[0]", "same family"}},
  };
  for (const BadFlows& c : cases) {
    const Ran ran = simulated_flows(c.file, c.text);
    EXPECT_EQ(ran.code, 1) << c.name;
    EXPECT_EQ(ran.out, "") << c.name;
    for (const auto says : c.says) EXPECT_THAT(ran.err, HasSubstr(std::string(says))) << c.name;
  }
}

TEST(Simulate, TellsEveryBadEndInOneRun) {
  const Ran ran =
      simulated_flows("f.yaml", "- {from: a/b, to: db/pg, port: 1}\n- {from: shop/api, to: c/d, port: 1}\n");
  EXPECT_THAT(ran.err, HasSubstr("[0]: from: there is no Pod a/b"));
  EXPECT_THAT(ran.err, HasSubstr("[1]: to: there is no Pod c/d"));
}

TEST(Simulate, WithoutFlowsAsksEveryPairOnEveryPort) {
  const test::Files files;
  files.write("world.yaml", test::shop_world);
  SimulateOptions options;
  options.objects = files.path();
  const Ran ran = simulated(options);
  EXPECT_EQ(ran.code, 0);
  // web, api, pg: web-api and web-pg in one family each, api-pg in two, both ways, on TCP 5432 and UDP 53.
  EXPECT_THAT(ran.out, HasSubstr("\n16 flows: "));
  EXPECT_THAT(ran.out, HasSubstr(", 0 where program and evaluator differ\n"));
  EXPECT_THAT(ran.out, HasSubstr("deny  shop/web -> db/pg 5432/TCP  egress default_deny shop/web-out\n"));
  EXPECT_THAT(ran.out, HasSubstr("allow shop/api -> db/pg 5432/TCP  allowed_by_rule db/pg-in\n"));
  EXPECT_THAT(ran.out, HasSubstr("allow shop/api -> db/pg 5432/TCP over IPv6  allowed_by_rule db/pg-in\n"));
  EXPECT_THAT(ran.err, HasSubstr("Pod db/new has no address"));
}

TEST(Simulate, FailsWithoutObjects) {
  const test::Files files;
  files.write("readme.txt", "nothing");
  files.write(".hidden/world.yaml", test::shop_world);
  SimulateOptions options;
  options.objects = files.path();
  EXPECT_THAT(simulated(options).err, HasSubstr("no *.yaml"));
  EXPECT_EQ(simulated(options).code, 1);
  options.objects = files.path("gone");
  EXPECT_THAT(simulated(options).err, HasSubstr("No such file"));
  options.objects = files.write("broken.yaml", "a: [\n");
  EXPECT_THAT(simulated(options).err, HasSubstr("broken.yaml"));
  EXPECT_EQ(simulated(options).code, 1);
}

TEST(Simulate, AnInvalidObjectIsReportedAndStillIsolates) {
  const test::Files files;
  files.write("world.yaml", test::shop_world);
  files.write("bad.yaml",
              "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\n"
              "spec: {podSelector: {}, ingress: [{ports: [{port: 70000}]}]}\n");
  SimulateOptions options;
  options.objects = files.path();
  options.flows = files.write("flows.txt", "[{from: db/pg, to: shop/api, port: 80}]");
  const Ran ran = simulated(options);
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.err, HasSubstr("spec.ingress[0].ports[0].port"));
  EXPECT_THAT(ran.out, HasSubstr("deny  db/pg -> shop/api 80/TCP  ingress default_deny shop/bad\n"));
}

TEST(Simulate, JudgesAPodThatHasNoNodeYet) {
  const test::Files files;
  files.write("pods.yaml",
              "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: x}\nstatus: {podIP: 10.0.0.1}\n---\n"
              "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: x}\n"
              "spec: {podSelector: {}}\n");
  SimulateOptions options;
  options.objects = files.path();
  options.flows = files.write("flows.txt", "[{from: 192.0.2.1, to: x/a, port: 80}]");
  EXPECT_THAT(simulated(options).out, HasSubstr("deny  192.0.2.1 -> x/a 80/TCP  ingress default_deny x/p\n"));
}

// A program of n2 that lost what it closes.
TEST(Simulate, EndsWithTwoWhenAProgramDiffers) {
  const test::Files files;
  files.write("world.yaml", test::shop_world);
  const auto objects = load_objects(files.path());
  ASSERT_TRUE(objects) << objects.error().what();
  Judge judge(objects->cluster, true, {{"n2", program::Program{}}});
  SimulateOptions options;
  options.flows =
      files.write("flows.txt", "[{from: shop/api, to: db/pg, port: 80}, {from: shop/api, to: db/pg, port: 5432}]");
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(simulate_in(objects->cluster, judge, options, out, err), 2);
  EXPECT_EQ(out.str(),
            "deny  shop/api -> db/pg 80/TCP  ingress default_deny db/pg-in\n"
            "  DIFFERS on node n2, first packet: program allow, evaluator deny\n"
            "  DIFFERS on node n2, reply: program allow, evaluator deny\n"
            "allow shop/api -> db/pg 5432/TCP  allowed_by_rule db/pg-in\n"
            "2 flows: 1 allowed, 1 denied, 1 where program and evaluator differ\n");
  options.output = Output::json;
  std::ostringstream json;
  EXPECT_EQ(simulate_in(objects->cluster, judge, options, json, err), 2);
  EXPECT_THAT(json.str(),
              HasSubstr(R"("differs":[{"node":"n2","packet":"first packet","program":"allow","evaluator":"deny"})"));
}

TEST(Judge, AsksTheNodesOfBothEnds) {
  const test::Files files;
  files.write("world.yaml", test::shop_world);
  const auto objects = load_objects(files.path());
  ASSERT_TRUE(objects) << objects.error().what();
  const auto nodes = [&](std::string_view from, std::string_view to) {
    return nodes_of(objects->cluster,
                    {net::IpAddr::parse(from).value(), net::IpAddr::parse(to).value(), net::tcp, net::Port{1}});
  };
  EXPECT_THAT(nodes("10.1.0.5", "10.2.0.7"), ::testing::ElementsAre("n1", "n2"));
  EXPECT_THAT(nodes("10.1.0.5", "10.1.0.6"), ::testing::ElementsAre("n1"));
  EXPECT_THAT(nodes("10.1.0.77", "203.0.113.1"), ::testing::ElementsAre("n1"));
  EXPECT_THAT(nodes("192.0.2.1", "203.0.113.1"), ::testing::IsEmpty());
}

}  // namespace
}  // namespace podfence::cli
