// Rows D1 to D9, C1 to C7, G1 to G7, S1 to S4 with a fake agent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cni/fakes.h"

namespace podfence::test {
namespace {

using ::testing::HasSubstr;

// D1
TEST(Del, D01_whatever_the_netns_is) {
  for (const std::string netns : {"", "/gone", "/dev/null"}) {
    Call call;
    call.env.netns = netns;
    call.host.veth = cni::refuse(cni::Code::invalid_netns, "no");
    EXPECT_EQ(call.run("DEL").status, 0);
    EXPECT_TRUE(call.host.calls.empty()) << "DEL has no business in the netns";
    EXPECT_EQ(call.agent.asked.size(), 1U);
  }
}

// D2
TEST(Del, D02_without_prevResult_or_with_a_bad_one) {
  for (const std::string previous : {"", "null", "5", R"({"ips":[{"address":"bad"}]})"}) {
    for (const std::string version : {"0.3.1", "1.0.0"}) {
      Call call;
      call.prev_result = previous;
      call.cni_version = version;
      EXPECT_EQ(call.run("DEL").status, 0) << previous;
    }
  }
}

// D3, D8
TEST(Del, D03_D08_again_and_again_without_output) {
  Call call;
  for (int i = 0; i < 3; ++i) {
    const Answer answer = call.run("DEL");
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.out, "");
  }
  EXPECT_EQ(call.agent.asked.size(), 3U);
}

// D4, D7
TEST(Del, D04_D07_without_the_agent_the_journal_takes_it) {
  const std::vector<Result<std::string>> answers = {fail(Errc::unavailable, "gone"), fail(Errc::busy, "hangs"),
                                                    std::string("garbage"), std::string(R"({"error":"no"})")};
  for (const auto& trouble : answers) {
    Call call;
    call.agent.answer = trouble;
    const Answer answer = call.run("DEL");
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.out, "");
    EXPECT_EQ(Json::parse(call.host.journal.at("/var/lib/podfence/c0ffee@eth0")),
              Json::parse(R"({"command":"cni.del","network":"kbr","container_id":"c0ffee","ifname":"eth0"})"));
    EXPECT_THAT(answer.err, HasSubstr("journal"));
    EXPECT_EQ(call.agent.if_absent, cni::IfAbsent::give_up);
    EXPECT_LE(call.agent.limit, std::chrono::seconds(2));
  }
}

// D4
TEST(Del, D04_only_when_the_journal_fails_too_is_there_something_to_retry) {
  Call call;
  call.agent.answer = fail(Errc::unavailable, "gone");
  call.host.journal_write = fail(Errc::io, "/var/lib/podfence: No space left on device");
  const Answer answer = call.run("DEL");
  EXPECT_EQ(answer.code(), 11);
  EXPECT_THAT(answer.msg(), HasSubstr("No space left"));
}

// D5, D6: no ADD came before; an address that is used again belongs to who has it (the agent's part).
TEST(Del, D05_D06_after_an_ADD_that_failed_or_never_ran) {
  Call call;
  call.host.veth = cni::refuse(cni::Code::invalid_config, "no");
  EXPECT_NE(call.run("ADD").status, 0);
  EXPECT_EQ(call.run("DEL").status, 0);
}

// D9
TEST(Del, D09_does_not_need_words_that_a_runtime_swallows) {
  Call call;
  call.env.netns = "";
  call.agent.answer = fail(Errc::unavailable, "gone");
  EXPECT_EQ(call.run("DEL").status, 0);
}

// C1
TEST(Check, C01_not_before_0_4_0) {
  for (const std::string version : {"0.2.0", "0.3.0", "0.3.1"}) {
    Call call;
    call.cni_version = version;
    const Answer answer = call.run("CHECK");
    EXPECT_EQ(answer.code(), 1);
    EXPECT_EQ(answer.json()["msg"], "config version does not allow CHECK");
  }
}

// C2
TEST(Check, C02_needs_prevResult) {
  Call call;
  call.prev_result = "";
  EXPECT_EQ(call.run("CHECK").code(), 7);
}

// C3
TEST(Check, C03_asks_the_agent_about_the_kernel_and_looks_at_the_bridge) {
  Call call;
  EXPECT_EQ(call.run("CHECK").status, 0);
  EXPECT_EQ(call.agent.asked.at(0)["command"], "cni.check");
  EXPECT_EQ(call.agent.asked.at(0)["addresses"], Json({"10.0.0.2", "fd00::2"}));
  EXPECT_EQ(call.host.calls.at(1), "check cni0") << "CHECK changes nothing";
  call.agent.answer = std::string(R"({"error":"10.0.0.2 is not in set managed4","code":101})");
  EXPECT_EQ(call.run("CHECK").code(), 101);
  call.host.bridge = cni::refuse(cni::Code::try_again, "somebody switched nf_call_iptables off");
  EXPECT_EQ(call.run("CHECK").code(), 11);
  call.host.veth = cni::refuse(cni::Code::invalid_config, "the pod has no interface eth0");
  EXPECT_EQ(call.run("CHECK").code(), 7);
}

// C4
TEST(Check, C04_holds_right_after_ADD) {
  Call call;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(call.run("ADD").status, 0);
    const Answer answer = call.run("CHECK");
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.out, "");
  }
}

// C5
TEST(Check, C05_what_later_plugins_add_to_the_result_is_no_fault) {
  Call call;
  call.prev_result.insert(1,
                          R"("interfaces2":[],"routes":[{"dst":"10.1.0.0/16"}],"dns":{"nameservers":["10.96.0.10"]},)");
  EXPECT_EQ(call.run("CHECK").status, 0);
}

// C6
TEST(Check, C06_without_the_agent_it_is_code_11) {
  Call call;
  call.agent.answer = fail(Errc::unavailable, "gone");
  EXPECT_EQ(call.run("CHECK").code(), 11);
  EXPECT_EQ(call.agent.if_absent, cni::IfAbsent::give_up);
}

// C7
TEST(Check, C07_disableCheck_is_the_runtimes_business) {
  Call call;
  call.extra = R"("disableCheck":true,)";
  EXPECT_EQ(call.run("ADD").status, 0);
}

// G1
TEST(Gc, G01_not_before_1_1_0) {
  for (const std::string command : {"GC", "STATUS"}) {
    Call call;
    const Answer answer = call.run(command);
    EXPECT_EQ(answer.code(), 1);
    EXPECT_EQ(answer.json()["msg"], "config version does not allow " + command);
  }
}

Answer run_gc(Call& call, const std::string& extra) {
  call.cni_version = "1.1.0";
  call.prev_result = "";
  call.env = {};  // G7: no container, no interface
  call.extra = extra;
  return call.run("GC");
}

// G2, G3, G5, G7
TEST(Gc, G02_G03_G07_absent_null_empty_and_given_lists) {
  const std::string list = R"([{"containerID":"a","ifname":"eth0"},{"containerID":"b","ifname":"net1"}])";
  const Json given = Json::parse(R"([{"container_id":"a","ifname":"eth0"},{"container_id":"b","ifname":"net1"}])");
  const std::vector<std::pair<std::string, Json>> cases = {
      {R"("cni.dev/valid-attachments":null,)", Json::array()},
      {R"("cni.dev/valid-attachments":[],)", Json::array()},
      {R"("cni.dev/valid-attachments":)" + list + ",", given},
      {R"("cni.dev/attachments":)" + list + ",", given},
      {R"("cni.dev/attachments":null,)", Json::array()},
      {R"("cni.dev/valid-attachments":)" + list + R"(,"cni.dev/attachments":[],)", given}};
  for (const auto& [extra, valid] : cases) {
    Call call;
    const Answer answer = run_gc(call, extra);
    EXPECT_EQ(answer.status, 0) << extra << answer.out;
    EXPECT_EQ(answer.out, "");
    EXPECT_EQ(call.agent.asked.at(0), (Json{{"command", "cni.gc"}, {"network", "kbr"}, {"valid", valid}})) << extra;
  }
  Call absent;
  EXPECT_EQ(run_gc(absent, "").status, 0);
  EXPECT_TRUE(absent.agent.asked.empty()) << "no list: nothing may be removed";
}

// G3
TEST(Gc, G03_a_list_that_cannot_be_understood_removes_nothing) {
  for (const std::string bad :
       {"5", "{}", "[5]", "[{}]", R"([{"containerID":"a"}])", R"([{"containerID":5,"ifname":"x"}])"}) {
    Call call;
    EXPECT_EQ(run_gc(call, R"("cni.dev/valid-attachments":)" + bad + ",").code(), 7) << bad;
    EXPECT_TRUE(call.agent.asked.empty());
  }
}

// G4
TEST(Gc, G04_is_for_one_network) {
  Call call;
  call.env = {};
  call.run_with("GC", R"({"cniVersion":"1.1.0","name":"other","cni.dev/valid-attachments":[]})");
  EXPECT_EQ(call.agent.asked.at(0)["network"], "other");
}

// G5, G6: libcni itself has called DEL for what its cache knows; GC asks again for the rest.
TEST(Gc, G05_G06_reports_what_went_wrong) {
  Call call;
  call.agent.answer = std::string(R"({"error":"2 of 3 attachments could not be removed: EBUSY"})");
  const Answer answer = run_gc(call, R"("cni.dev/valid-attachments":[],)");
  EXPECT_EQ(answer.code(), 11);
  EXPECT_THAT(answer.msg(), HasSubstr("2 of 3"));
}

Answer run_status(Call& call) {
  call.cni_version = "1.1.0";
  call.prev_result = "";
  call.env = {};
  return call.run("STATUS");
}

// S1, S3, S4
TEST(Status, S01_S03_S04_says_whether_ADD_can_be_served) {
  Call call;
  const Answer good = run_status(call);
  EXPECT_EQ(good.status, 0);
  EXPECT_EQ(good.out, "");
  EXPECT_EQ(call.agent.asked.at(0), Json({{"command", "cni.status"}}));
  EXPECT_TRUE(call.host.calls.empty());
  const std::vector<std::pair<std::string, int>> answers = {{R"({"error":"not synced","code":50})", 50},
                                                            {R"({"error":"table gone","code":51})", 51},
                                                            {R"({"error":"x"})", 50},
                                                            {R"({"error":"x","code":11})", 50},
                                                            {"garbage", 50}};
  for (const auto& [said, code] : answers) {
    call.agent.answer = said;
    EXPECT_EQ(run_status(call).code(), code) << said;
  }
}

// S1
TEST(Status, S01_without_the_agent_the_rules_decide) {
  Call call;
  call.agent.answer = fail(Errc::unavailable, "gone");
  EXPECT_EQ(run_status(call).code(), 50);
  call.host.rules = false;
  EXPECT_EQ(run_status(call).code(), 51);
  call.host.rules = fail(Errc::permission, "no");
  EXPECT_EQ(run_status(call).code(), 50) << "what cannot be told is not claimed";
}

// S2
TEST(Status, S02_waits_a_tenth_of_a_second_at_most) {
  Call call;
  call.extra = R"("deadlineSeconds":60,)";
  run_status(call);
  EXPECT_LT(call.agent.limit, std::chrono::milliseconds(100));
  EXPECT_EQ(call.agent.if_absent, cni::IfAbsent::give_up);
}

}  // namespace
}  // namespace podfence::test
