// Rows A1 to A15: ADD, and what of CNI_ARGS it tells the agent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cni/fakes.h"

namespace podfence::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A1, A2, A15
TEST(Add, A01_A02_A15_passes_prevResult_on_byte_for_byte) {
  Call call;
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.status, 0) << answer.out;
  EXPECT_EQ(answer.out, call.prev_result);
}

TEST(Add, tells_the_agent_all_that_the_contract_names) {
  Call call;
  call.env.args =
      "K8S_POD_NAME=web;IgnoreUnknown=1;K8S_POD_UID=u-1;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_NAMESPACE=shop";
  call.run("ADD");
  ASSERT_EQ(call.agent.asked.size(), 1U);
  EXPECT_EQ(call.agent.asked[0], Json::parse(R"({"command":"cni.add","network":"kbr","container_id":"c0ffee",
    "ifname":"eth0","netns":"/var/run/netns/x","host_interface":"veth1","host_ifindex":12,"bridge":"cni0",
    "addresses":["10.0.0.2","fd00::2"],"pod_namespace":"shop","pod_name":"web","pod_uid":"u-1","deadline_ms":10000})"));
  EXPECT_THAT(call.host.calls, ElementsAre("find /var/run/netns/x eth0", "filter cni0"));
}

TEST(Add, a_routed_pod_has_no_bridge) {
  Call call;
  call.host.veth = cni::Veth{"veth1", 12, "", 0};
  call.run("ADD");
  EXPECT_FALSE(call.agent.asked.at(0).contains("bridge"));
}

// A3
TEST(Add, A03_the_result_has_the_version_of_the_input) {
  Call call;
  call.cni_version = "0.4.0";
  const Answer replaced = call.run("ADD");
  std::string expected = call.prev_result;
  expected.replace(expected.find("\"1.0.0\""), 7, "\"0.4.0\"");
  EXPECT_EQ(replaced.out, expected);

  call.prev_result = R"({ "ips":[{"address":"10.0.0.2/24"}]})";
  EXPECT_EQ(call.run("ADD").out, R"({"cniVersion":"0.4.0", "ips":[{"address":"10.0.0.2/24"}]})");
}

// A4
TEST(Add, A04_needs_prevResult) {
  for (const std::string none : {"", "null"}) {
    Call call;
    call.prev_result = none;
    const Answer answer = call.run("ADD");
    EXPECT_EQ(answer.code(), 7);
    EXPECT_THAT(answer.msg(), HasSubstr("missing prevResult"));
    EXPECT_TRUE(call.host.calls.empty());
  }
}

// A5
TEST(Add, A05_prevResult_that_is_no_result) {
  for (const std::string bad :
       {R"({"ips":[{"address":"10.0.0.2"}]})", R"({"ips":[{"address":"10.0.0.300/24"}]})",
        R"({"ips":[{"address":"10.0.0.2/33"}]})", R"({"ips":[{"address":""}]})", R"({"ips":[{}]})", R"({"ips":["x"]})",
        R"({"ips":{}})", R"({"interfaces":5,"ips":[]})", R"({"interfaces":[5],"ips":[]})",
        R"({"ips":[{"address":"10.0.0.2/24","interface":"0"}]})", R"([])", R"("x")", R"(5)", R"({"ip4":5})",
        R"({"ip4":{"ip":"10.0.0.2"}})"}) {
    Call call;
    call.prev_result = bad;
    const Answer answer = call.run("ADD");
    EXPECT_TRUE(answer.code() == 6 || answer.code() == 7) << bad << answer.out;
    EXPECT_TRUE(call.agent.asked.empty());
  }
}

// A6
TEST(Add, A06_a_netns_that_is_none_is_code_8_and_nothing_is_asked) {
  Call call;
  call.host.veth = cni::refuse(cni::Code::invalid_netns, "not a network namespace");
  EXPECT_EQ(call.run("ADD").code(), 8);
  EXPECT_TRUE(call.agent.asked.empty());
}

// A7
TEST(Add, A07_the_runtimes_own_netns_only_by_override) {
  for (const std::string yes : {"1", "TRUE", "true", "True"}) {
    Call call;
    call.env.netns_override = yes;
    call.run("ADD");
    EXPECT_THAT(call.host.calls.at(0), HasSubstr(" own")) << yes;
  }
  for (const std::string no : {"", "0", "yes", "false", "11"}) {
    Call call;
    call.env.netns_override = no;
    call.run("ADD");
    EXPECT_EQ(call.host.calls.at(0), "find /var/run/netns/x eth0") << no;
  }
}

Json addresses_of(const std::string& result) {
  Call call;
  call.prev_result = result;
  call.run("ADD");
  return call.agent.asked.empty() ? Json() : call.agent.asked[0]["addresses"];
}

// A8
TEST(Add, A08_addresses_of_the_sandbox_interface) {
  const std::string interfaces =
      R"("interfaces":[{"name":"eth0"},{"name":"veth1"},{"name":"eth0","sandbox":"/var/run/netns/x"},
         {"name":"net1","sandbox":"/var/run/netns/x"}])";
  EXPECT_EQ(addresses_of("{" + interfaces + R"(,"ips":[{"address":"10.0.0.1/8","interface":0},
    {"address":"10.0.0.2/8","interface":2},{"address":"10.0.0.3/8","interface":3},{"address":"10.0.0.4/8"},
    {"address":"10.0.0.5/8","interface":null},{"address":"10.0.0.6/8","interface":4},
    {"address":"10.0.0.7/8","interface":-1},{"address":"10.0.0.8/8","interface":18446744073709551615}]})"),
            Json({"10.0.0.2", "10.0.0.4", "10.0.0.5"}));
}

// A8
TEST(Add, A08_another_path_of_the_sandbox_counts_when_none_is_exact) {
  EXPECT_EQ(addresses_of(R"({"interfaces":[{"name":"eth0","sandbox":"/run/netns/x"}],
    "ips":[{"address":"10.0.0.2/8","interface":0}]})"),
            Json({"10.0.0.2"}));
}

// A9
TEST(Add, A09_twice_is_the_same_as_once) {
  Call call;
  const Answer first = call.run("ADD");
  const Answer second = call.run("ADD");
  EXPECT_EQ(first.out, second.out);
  EXPECT_EQ(call.agent.asked.at(0), call.agent.asked.at(1));
}

// A10
TEST(Add, A10_the_container_id_is_the_key_in_ADD_and_DEL) {
  Call call;
  call.env.args = "K8S_POD_UID=u-1";
  call.run("ADD");
  call.env.container_id = "second";
  call.run("ADD");
  call.env.container_id = "c0ffee";
  call.run("DEL");
  EXPECT_EQ(call.agent.asked.at(1)["container_id"], "second");
  EXPECT_EQ(call.agent.asked.at(2),
            Json::parse(R"({"command":"cni.del","network":"kbr","container_id":"c0ffee","ifname":"eth0"})"));
}

// A11
TEST(Add, A11_agent_trouble_is_code_11_in_words_for_an_operator) {
  const std::vector<Result<std::string>> answers = {
      fail(Errc::unavailable, "/run/podfence/agent.sock: Connection refused"),
      fail(Errc::busy, "/run/podfence/agent.sock: no answer in time"),
      fail(Errc::limit, "/run/podfence/agent.sock: the answer is longer than 64 KiB"),
      fail(Errc::io, "x"),
      std::string("nonsense"),
      std::string("{}"),
      std::string("[]"),
      std::string(R"({"ok":false})"),
      std::string(R"({"error":"the agent has not synced yet"})"),
      std::string(R"({"error":"no","code":-5})"),
      std::string(R"({"error":"no","code":"12"})")};
  for (const auto& answer : answers) {
    Call call;
    call.agent.answer = answer;
    const Answer said = call.run("ADD");
    EXPECT_EQ(said.status, 1);
    EXPECT_EQ(said.code(), 11) << said.out;
  }
  Call call;
  call.agent.answer = answers[0];
  EXPECT_EQ(
      call.run("ADD").msg(),
      "the podfence agent of this node cannot be reached: pods start when it runs again; the runtime tries again; "
      "/run/podfence/agent.sock: Connection refused");
  EXPECT_EQ(call.agent.if_absent, cni::IfAbsent::wait);
}

TEST(Add, hands_on_the_agents_own_error) {
  Call call;
  call.agent.answer = std::string(R"({"error":"address 10.0.0.2 is taken","code":120})");
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.code(), 120);
  EXPECT_THAT(answer.msg(), HasSubstr("address 10.0.0.2 is taken"));
}

// A12
TEST(Add, A12_several_addresses_and_sandboxes) {
  EXPECT_EQ(addresses_of(R"({"interfaces":[{"name":"eth0","sandbox":"/a"},{"name":"eth0","sandbox":"/var/run/netns/x"}],
    "ips":[{"address":"10.0.0.1/8","interface":0},{"address":"10.0.0.2/8","interface":1},
    {"address":"10.0.0.3/8","interface":1},{"address":"fd00::1/64","interface":1},{"address":"fd00::2/64","interface":1},
    {"address":"10.0.0.2/32","interface":1}]})"),
            Json({"10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"}));
}

// A13
TEST(Add, A13_every_shape_that_a_result_has_had) {
  const std::string old_shape =
      R"({"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1"},"ip6":{"ip":"fd00::2/64"},"dns":{}})";
  const std::string middle =
      R"({"interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"version":"4","address":"10.0.0.2/24","interface":0},
          {"version":"6","address":"fd00::2/64","interface":0}]})";
  const std::string newest =
      R"({"interfaces":[{"name":"eth0","sandbox":"/x","mtu":1500,"socketPath":"/s","pciID":"0000:00"}],
          "ips":[{"address":"10.0.0.2/24","interface":0},{"address":"fd00::2/64","interface":0}],
          "routes":[{"dst":"0.0.0.0/0","mtu":1400,"advmss":1300,"priority":1,"table":5,"scope":0}]})";
  const std::vector<std::pair<std::string, std::string>> shapes = {{"0.2.0", old_shape}, {"0.3.0", middle},
                                                                   {"0.3.1", middle},    {"0.4.0", middle},
                                                                   {"1.0.0", newest},    {"1.1.0", newest}};
  for (const auto& [version, shape] : shapes) {
    Call call;
    call.cni_version = version;
    call.prev_result = shape;
    const Answer answer = call.run("ADD");
    EXPECT_EQ(answer.status, 0) << version << answer.out;
    EXPECT_EQ(call.agent.asked.at(0)["addresses"], Json({"10.0.0.2", "fd00::2"})) << version;
    EXPECT_EQ(answer.json()["cniVersion"], version);
  }
}

// A14
TEST(Add, A14_no_conversion_loses_addresses_and_none_at_all_is_said) {
  Call call;
  call.cni_version = "0.3.1";
  call.prev_result = R"({"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.2/24"},
    {"version":"4","address":"10.0.0.3/24"}]})";
  EXPECT_EQ(call.run("ADD").out, call.prev_result);
  call.prev_result = R"({"cniVersion":"0.3.1","dns":{}})";
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.code(), 7);
  EXPECT_THAT(answer.msg(), HasSubstr("no address of eth0"));
}

TEST(Add, the_kernel_and_prevResult_must_agree_about_the_hosts_end) {
  Call call;
  call.host.veth = cni::Veth{"veth9", 12, "", 0};
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.code(), 7);
  EXPECT_THAT(answer.msg(), HasSubstr("the kernel says veth9, prevResult names cni0, veth1"));
  EXPECT_TRUE(call.agent.asked.empty());
}

TEST(Add, a_bridge_that_cannot_be_filtered_is_refused_before_the_agent_is_asked) {
  Call call;
  call.host.bridge = cni::refuse(cni::Code::invalid_config, "br_netfilter is not loaded");
  EXPECT_EQ(call.run("ADD").code(), 7);
  EXPECT_TRUE(call.agent.asked.empty());
}

// Section 1.6
TEST(Args, S1_6_any_order_unknown_keys_and_odd_values) {
  const auto pod = cni::read_args("X=1;K8S_POD_NAME=a=b;;K8S_POD_NAMESPACE=;K8S_POD_UID=u;");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->pod_name, "a=b");
  EXPECT_EQ(pod->pod_namespace, "");
  EXPECT_EQ(pod->pod_uid, "u");
  EXPECT_FALSE(cni::read_args("IgnoreUnknown"));
}

// Section 1.6
TEST(Args, S1_6_a_broken_pair_stops_ADD_and_never_DEL) {
  Call call;
  call.env.args = "K8S_POD_NAME";
  EXPECT_EQ(call.run("ADD").code(), 4);
  EXPECT_EQ(call.run("DEL").status, 0);
}

TEST(Deny, the_pod_starts_closed_and_the_journal_knows) {
  Call call;
  call.extra = R"("onAgentUnavailable":"deny",)";
  call.agent.answer = fail(Errc::unavailable, "gone");
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.status, 0) << answer.out;
  EXPECT_EQ(answer.out, call.prev_result);
  EXPECT_THAT(call.host.closed, ElementsAre("veth1"));
  // In this order: a closure that no one knows of would stay.
  EXPECT_THAT(call.host.calls,
              ElementsAre("find /var/run/netns/x eth0", "filter cni0", "journal c0ffee@eth0", "close veth1"));
  EXPECT_EQ(Json::parse(call.host.journal.at("/var/lib/podfence/c0ffee@eth0"))["command"], "cni.add");
  EXPECT_EQ(call.agent.if_absent, cni::IfAbsent::give_up);
}

TEST(Deny, a_later_ADD_or_DEL_opens_it) {
  for (const std::string command : {"ADD", "DEL"}) {
    Call call;
    call.extra = R"("onAgentUnavailable":"deny",)";
    call.agent.answer = fail(Errc::unavailable, "gone");
    call.run("ADD");
    call.agent.answer = std::string(R"({"ok":true})");
    EXPECT_EQ(call.run(command).status, 0);
    EXPECT_TRUE(call.host.closed.empty());
    EXPECT_TRUE(call.host.journal.empty());
  }
}

TEST(Deny, fails_when_it_cannot_close) {
  Call call;
  call.extra = R"("onAgentUnavailable":"deny",)";
  call.agent.answer = fail(Errc::unavailable, "gone");
  call.host.device_close = fail(Errc::refused, "nftables: Operation not supported");
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.code(), 11);
  EXPECT_THAT(answer.msg(), HasSubstr("Operation not supported"));
}

TEST(Deny, is_not_for_what_the_agent_refuses) {
  Call call;
  call.extra = R"("onAgentUnavailable":"deny",)";
  call.agent.answer = std::string(R"({"error":"taken","code":120})");
  EXPECT_EQ(call.run("ADD").code(), 120);
  EXPECT_TRUE(call.host.closed.empty());
}

}  // namespace
}  // namespace podfence::test
