// Rows P1 to P11, V1 to V3: what every command has in common.
#include <gtest/gtest.h>

#include <sstream>

#include "tests/cni/fakes.h"

namespace podfence::test {
namespace {

// P1
TEST(Protocol, P01_serves_the_six_commands) {
  for (const std::string command : {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"}) {
    Call call;
    call.cni_version = "1.1.0";
    const Answer answer = call.run(command);
    EXPECT_EQ(answer.status, 0) << command << ": " << answer.out;
  }
}

// P2
TEST(Protocol, P02_without_a_command_it_introduces_itself_on_stderr) {
  Call call;
  const Answer answer = call.run("");
  EXPECT_EQ(answer.status, 0);
  EXPECT_EQ(answer.out, "");
  EXPECT_NE(answer.err.find("CNI plugin podfence-cni"), std::string::npos) << answer.err;
  EXPECT_NE(answer.err.find("CNI protocol versions supported: 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"),
            std::string::npos);
}

// P3
TEST(Protocol, P03_refuses_other_commands) {
  for (const std::string command : {"FOO", "add", "ADD ", "UPDATE"}) {
    Call call;
    const Answer answer = call.run(command);
    EXPECT_NE(answer.status, 0);
    EXPECT_EQ(answer.code(), 4);
    EXPECT_EQ(answer.json()["msg"], "unknown CNI_COMMAND: " + command);
    EXPECT_TRUE(call.agent.asked.empty());
  }
}

// P4
TEST(Protocol, P04_names_all_missing_variables) {
  Call call;
  call.env = {};
  EXPECT_EQ(call.run("ADD").json()["msg"], "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing");
  EXPECT_EQ(call.run("CHECK").code(), 4);
  EXPECT_EQ(call.run("DEL").json()["msg"], "required env variables [CNI_CONTAINERID,CNI_IFNAME] missing");
  EXPECT_TRUE(call.agent.asked.empty());
}

// P4
TEST(Protocol, P04_each_variable_by_itself) {
  const std::vector<std::pair<std::string, std::string cni::Env::*>> variables = {
      {"CNI_CONTAINERID", &cni::Env::container_id}, {"CNI_NETNS", &cni::Env::netns}, {"CNI_IFNAME", &cni::Env::ifname}};
  for (const auto& [name, field] : variables) {
    Call call;
    call.env.*field = "";
    const Answer answer = call.run("ADD");
    EXPECT_EQ(answer.code(), 4);
    EXPECT_EQ(answer.json()["msg"], "required env variables [" + name + "] missing");
  }
}

// P5
TEST(Protocol, P05_never_needs_CNI_PATH_and_DEL_no_netns) {
  Call call;
  call.env.netns = "";
  EXPECT_EQ(call.run("DEL").status, 0);
  call.env = {};
  call.cni_version = "1.1.0";
  EXPECT_EQ(call.run("GC").status, 0);
  EXPECT_EQ(call.run("STATUS").status, 0);
}

// P6
TEST(Protocol, P06_checks_the_container_id) {
  for (const std::string id : {"a/b", "-a", ".", "..", "a b", "a@b", "\xc3\xa4", "a\n"}) {
    for (const std::string command : {"ADD", "DEL", "CHECK"}) {
      Call call;
      call.env.container_id = id;
      const Answer answer = call.run(command);
      EXPECT_EQ(answer.code(), 4) << id;
      EXPECT_EQ(answer.json()["msg"], "invalid characters in containerID");
      EXPECT_EQ(answer.json()["details"], id);
      EXPECT_TRUE(call.host.calls.empty());
    }
  }
  Call call;
  call.env.container_id = "k8s.io-web_1-2";
  EXPECT_EQ(call.run("ADD").status, 0);
}

// P6
TEST(Protocol, P06_an_id_too_long_for_a_file_name_never_was_added) {
  Call call;
  call.env.container_id = std::string(201, 'a');
  EXPECT_EQ(call.run("ADD").code(), 4);
  EXPECT_EQ(call.run("DEL").status, 0);
  EXPECT_TRUE(call.agent.asked.empty());
}

// P7
TEST(Protocol, P07_checks_the_interface_name) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"sixteen-bytes-xx", "interface name is too long"},
      {".", "interface name is . or .."},
      {"..", "interface name is . or .."},
      {"a/b", "interface name contains / or : or whitespace characters"},
      {"a:b", "interface name contains / or : or whitespace characters"},
      {"a b", "interface name contains / or : or whitespace characters"},
      {"a\t", "interface name contains / or : or whitespace characters"}};
  for (const auto& [name, says] : cases) {
    Call call;
    call.env.ifname = name;
    const Answer answer = call.run("ADD");
    EXPECT_EQ(answer.code(), 4) << name;
    EXPECT_EQ(answer.json()["msg"], says);
  }
  Call call;
  call.env.ifname = "fifteen-bytes-x";
  EXPECT_NE(call.run("DEL").code(), 4);
}

// P8
TEST(Protocol, P08_needs_a_network_name) {
  Call call;
  const Answer missing = call.run_with("DEL", R"({"cniVersion":"1.0.0"})");
  EXPECT_EQ(missing.code(), 7);
  EXPECT_EQ(missing.json()["msg"], "missing network name");
  const Answer bad = call.run_with("DEL", R"({"cniVersion":"1.0.0","name":"a/b"})");
  EXPECT_EQ(bad.code(), 7);
  EXPECT_EQ(bad.json()["details"], "a/b");
}

// P9
TEST(Protocol, P09_input_that_is_no_JSON_object) {
  for (const std::string text : {"", " ", "{", "[]", "null", "{\"name\":\"x\"} x", "\"name\"", "{\"name\":\"\xff\"}"}) {
    Call call;
    EXPECT_EQ(call.run_with("ADD", text).code(), 6) << text;
  }
}

class BrokenInput : public std::streambuf {
  int_type underflow() override { throw std::ios_base::failure("no such input"); }
};

// P10
TEST(Protocol, P10_input_that_cannot_be_read) {
  Call call;
  call.env.command = "ADD";
  BrokenInput broken;
  std::istream in(&broken);
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_NE(cni::run(call.env, in, out, err, call.agent, call.host), 0);
  EXPECT_EQ(Json::parse(out.str())["code"], 5);
}

// P10
TEST(Protocol, P10_input_without_an_end_is_cut) {
  Call call;
  EXPECT_EQ(call.run_with("ADD", std::string((4U << 20U) + 1, ' ')).code(), 5);
}

// P11
TEST(Protocol, P11_versions_compare_exactly) {
  for (const std::string version : {"9.9.9", "1.0", "1.0.00", "v1.0.0", "0.1.0", "1.2.0", ""}) {
    Call call;
    call.cni_version = version;
    const Answer answer = call.run("DEL");
    EXPECT_EQ(answer.code(), 1) << version;
    EXPECT_EQ(answer.json()["msg"], "incompatible CNI versions");
    const std::string details = answer.json()["details"];
    EXPECT_NE(details.find('"' + (version.empty() ? "0.1.0" : version) + '"'), std::string::npos) << details;
    EXPECT_NE(details.find("\"1.1.0\""), std::string::npos) << details;
  }
  Call call;
  EXPECT_EQ(call.run_with("DEL", R"({"name":"kbr"})").code(), 1);
}

// P12, P13
TEST(Protocol, P12_P13_errors_are_objects_on_stdout) {
  Call call;
  call.prev_result = "";
  call.cni_version = "0.4.0";
  const Answer answer = call.run("ADD");
  EXPECT_EQ(answer.status, 1);
  const Json error = answer.json();
  EXPECT_EQ(error["cniVersion"], "0.4.0");
  EXPECT_TRUE(error["code"].is_number_unsigned());
  EXPECT_TRUE(error["msg"].is_string());
  EXPECT_TRUE(error["details"].is_string());
}

// P14
TEST(Protocol, P14_nothing_but_the_result_on_stdout) {
  Call call;
  call.agent.answer = fail(Errc::unavailable, "gone");
  EXPECT_EQ(call.run("DEL").out, "");
  call.extra = R"("onAgentUnavailable":"deny",)";
  EXPECT_EQ(call.run("ADD").out, call.prev_result);
}

// P18
TEST(Protocol, P18_other_variables_do_not_disturb) {
  const char* const variables[] = {
      "TRACEPARENT=00-ab-cd-01", "CNI_COMMAND=ADD", "CNI_IFNAME=eth0=x", "BROKEN", "CNI_ARGS=A=b;C=d", nullptr};
  const cni::Env env = cni::Env::of(variables);
  EXPECT_EQ(env.command, "ADD");
  EXPECT_EQ(env.ifname, "eth0=x");
  EXPECT_EQ(env.args, "A=b;C=d");
  EXPECT_EQ(env.netns, "");
}

// V1, V2
TEST(Protocol, V01_V02_VERSION_needs_nothing_and_asks_nobody) {
  for (const std::string text : {"", "nonsense", R"({"cniVersion":"0.1.0"})"}) {
    Call call;
    call.env = {"VERSION", "dummy", "dummy", "dummy", "dummy", ""};
    const Answer answer = call.run_with("VERSION", text);
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.json()["cniVersion"], "1.1.0");
    EXPECT_EQ(answer.json()["supportedVersions"], Json({"0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}));
    EXPECT_TRUE(call.agent.asked.empty());
    EXPECT_TRUE(call.host.calls.empty());
  }
}

// V3
TEST(Protocol, V03_claims_1_1_0_and_has_GC_and_STATUS) {
  Call call;
  call.cni_version = call.run("VERSION").json()["supportedVersions"].back();
  EXPECT_EQ(call.run("GC").status, 0);
  EXPECT_EQ(call.run("STATUS").status, 0);
}

// Section 1.6
TEST(Config, S1_6_takes_its_own_keys_and_leaves_others_alone) {
  Call call;
  call.extra =
      R"("capabilities":{"x":true},"runtimeConfig":{"dns":{"Servers":null}},"socket":"/s","deadlineSeconds":2.5,)"
      R"("stateDir":"/state","logFile":"/log",)";
  EXPECT_EQ(call.run("ADD").status, 0);
  EXPECT_EQ(call.agent.socket, "/s");
  EXPECT_EQ(call.agent.limit, std::chrono::milliseconds(2500));
  EXPECT_EQ(call.agent.asked.at(0)["deadline_ms"], 2500);
  ASSERT_EQ(call.host.logs.size(), 1U);
  EXPECT_EQ(call.host.logs[0].find("/log: {\"command\":\"ADD\",\"network\":\"kbr\",\"container_id\":\"c0ffee\""), 0U);
  call.agent.answer = fail(Errc::unavailable, "gone");
  call.run("DEL");
  EXPECT_EQ(call.host.journal.count("/state/c0ffee@eth0"), 1U);
}

TEST(Config, has_defaults) {
  Call call;
  call.run("ADD");
  EXPECT_EQ(call.agent.socket, "/run/podfence/agent.sock");
  EXPECT_EQ(call.agent.limit, std::chrono::seconds(10));
  call.agent.answer = fail(Errc::unavailable, "gone");
  call.run("DEL");
  EXPECT_EQ(call.host.journal.count("/var/lib/podfence/c0ffee@eth0"), 1U);
  EXPECT_TRUE(call.host.logs.empty());
}

TEST(Config, refuses_values_that_mean_nothing) {
  for (const std::string extra :
       {R"("socket":"run/x",)", R"("socket":5,)", R"("socket":"",)", R"("deadlineSeconds":0,)",
        R"("deadlineSeconds":-1,)", R"("deadlineSeconds":"10",)", R"("deadlineSeconds":301,)",
        R"("deadlineSeconds":1e300,)", R"("onAgentUnavailable":"open",)", R"("onAgentUnavailable":true,)",
        R"("stateDir":"x",)", R"("logFile":"x",)"}) {
    Call call;
    call.extra = extra;
    EXPECT_EQ(call.run("ADD").code(), 7) << extra;
    EXPECT_TRUE(call.agent.asked.empty()) << extra;
  }
  Call call;
  call.extra = R"("socket":"/)" + std::string(107, 'x') + R"(",)";
  EXPECT_EQ(call.run("ADD").code(), 7);
}

}  // namespace
}  // namespace podfence::test
