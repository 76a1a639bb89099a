// What the plugin asks, against an agent whose every step the test decides. Rows: A9 A10 A11 C3 C6 D3 D7 G3 G4 S1.
#include "enforcer/agent/cni_requests.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "enforcer/agent/reconciler.h"
#include "tests/support/builders.h"
#include "tests/support/fake_kernel.h"

namespace podfence::agent {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::node;
using test::pod;
using test::policy;

struct Answers final : Reply::Target {
  void send(std::string line) override { got.push_back(std::move(line)); }
  void keep(std::chrono::milliseconds time) override { kept = time; }
  std::vector<std::string> got;
  std::chrono::milliseconds kept{0};
};

compile::Settings settings() {
  compile::Settings settings;
  settings.node = "n1";
  return settings;
}

/// Commits only when it is told to.
class Agent final : public CniHost {
 public:
  explicit Agent(const std::string& state) {
    auto opened = sandbox::Registry::open({.node = "n1", .state_dir = state, .results_dir = ""});
    if (!opened) throw std::runtime_error(opened.error().what());
    registry = std::move(*opened);
    requests.emplace(io, *registry, *this);
    requests->replay_journal();
  }

  void change(std::vector<store::Event> events, std::span<const net::IpAddr> attached) override {
    reconciler.take(std::move(events));
    reconciler.attach(attached);
  }
  bool enforcing() const override { return started; }
  std::string trouble() const override { return error; }
  const compile::Compiler& compiler() const override { return reconciler.compiler(); }
  kernel::Kernel& kernel() override { return fake; }
  Result<> end_flows(const std::vector<net::IpAddr>& addresses) override {
    if (!end_error.empty()) return fail(Errc::unavailable, end_error);
    for (const auto& ip : addresses) ended.push_back(ip.text());
    return {};
  }

  void commit() {
    const auto outcome = reconciler.reconcile();
    ASSERT_NE(outcome.kind, Outcome::Kind::retry) << outcome.error;
    started = true;
    requests->on_committed();
  }
  void hear(std::vector<api::Object> objects) { reconciler.take(registry->take(test::events_of(std::move(objects)))); }
  std::shared_ptr<Answers> ask(const std::string& json) {
    auto answers = std::make_shared<Answers>();
    const auto request = parse_request(json);
    if (!request) throw std::runtime_error(request.error().what());
    requests->take(*request, Reply(answers));
    return answers;
  }
  /// Lets timers of so long expire.
  void pass(std::chrono::milliseconds time) { io.run_for(time); }
  bool holds(program::Shape shape, const char* address) {
    program::Element element;
    element.address = test::ip(address);
    return *fake.has({shape, net::Direction::ingress, element.address.family()}, element);
  }

  boost::asio::io_context io;
  test::FakeKernel fake;
  Reconciler reconciler{settings(), fake};
  std::unique_ptr<sandbox::Registry> registry;
  std::optional<CniRequests> requests;
  bool started = false;
  std::string error;
  std::vector<std::string> ended;
  std::string end_error;
};

std::string attachment(const std::string& command, const std::string& id, const std::string& address,
                       const std::string& more = "") {
  return R"({"command":")" + command + R"(","network":"net","container_id":")" + id +
         R"(","ifname":"eth0","netns":"/proc/self/ns/net","host_interface":"lo","host_ifindex":1,"addresses":[")" +
         address + R"("],"pod_namespace":"default","pod_name":"web","pod_uid":"",)" + more + R"("deadline_ms":400})";
}
std::string add(const std::string& id, const std::string& address) {
  return attachment("cni.add", id, address);
}
std::string del(const std::string& id) {
  return R"({"command":"cni.del","network":"net","container_id":")" + id + R"(","ifname":"eth0"})";
}

class CniRequestsTest : public testing::Test {
 protected:
  CniRequestsTest() {
    std::string name = (fs::temp_directory_path() / "podfence-cni-XXXXXX").string();
    state_ = ::mkdtemp(name.data());
  }
  ~CniRequestsTest() override { fs::remove_all(state_); }
  std::size_t files() const {
    const auto directory = fs::path(state_) / "attachments";
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
  }
  void journal(const std::string& name, const std::string& line) const {
    fs::create_directories(fs::path(state_) / "cni-journal");
    std::ofstream(fs::path(state_) / "cni-journal" / name) << line;
  }
  std::string state_;
};

TEST_F(CniRequestsTest, add_is_answered_when_the_kernel_has_it) {
  Agent agent(state_);
  agent.hear({node("n1"), pod("web"), policy("p").deny_ingress()});
  agent.commit();
  const auto answers = agent.ask(add("a", "10.0.0.2"));
  EXPECT_TRUE(answers->got.empty());
  EXPECT_EQ(files(), 1U) << "on disk before anything else";
  EXPECT_FALSE(agent.holds(program::Shape::known, "10.0.0.2"));
  agent.commit();
  ASSERT_EQ(answers->got.size(), 1U);
  EXPECT_EQ(answers->got[0], R"({"ok":true,"pod_known":true})");
  EXPECT_TRUE(agent.holds(program::Shape::known, "10.0.0.2"));
  EXPECT_TRUE(agent.holds(program::Shape::isolated, "10.0.0.2"));
  agent.pass(500ms);
  EXPECT_EQ(answers->got.size(), 1U) << "once";
}

TEST_F(CniRequestsTest, an_unknown_pod_is_closed) {
  Agent agent(state_);
  agent.commit();
  const auto answers = agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(answers->got.at(0), R"({"ok":true,"pod_known":false})");
  EXPECT_TRUE(agent.holds(program::Shape::managed, "10.0.0.2"));
  EXPECT_FALSE(agent.holds(program::Shape::known, "10.0.0.2"));
}

TEST_F(CniRequestsTest, many_share_one_commit) {  // P19
  Agent agent(state_);
  agent.commit();
  const auto before = agent.fake.tried().size();
  std::vector<std::shared_ptr<Answers>> all;
  for (int i = 0; i < 20; ++i) all.push_back(agent.ask(add("a" + std::to_string(i), "10.0.0." + std::to_string(i))));
  agent.commit();
  EXPECT_EQ(agent.fake.tried().size(), before + 1);
  for (const auto& answers : all) EXPECT_EQ(answers->got.size(), 1U);
}

TEST_F(CniRequestsTest, an_agent_that_does_not_enforce_in_time_says_try_again) {  // A11
  Agent agent(state_);
  agent.error = "world.yaml is missing";
  const auto answers = agent.ask(add("a", "10.0.0.2"));
  EXPECT_LE(answers->kept, 400ms);
  EXPECT_GE(answers->kept, 200ms);
  agent.pass(350ms);
  ASSERT_EQ(answers->got.size(), 1U) << "before the plugin gives up by itself";
  EXPECT_NE(answers->got[0].find(R"("code":11)"), std::string::npos) << answers->got[0];
  EXPECT_NE(answers->got[0].find("starting"), std::string::npos);
  EXPECT_NE(answers->got[0].find("world.yaml"), std::string::npos);
  agent.commit();
  EXPECT_EQ(answers->got.size(), 1U);
  EXPECT_TRUE(agent.holds(program::Shape::managed, "10.0.0.2")) << "closed all the same";
}

TEST_F(CniRequestsTest, what_is_not_committed_is_not_acknowledged) {
  Agent agent(state_);
  agent.commit();
  agent.error = "the kernel is busy";
  const auto added = agent.ask(add("a", "10.0.0.2"));
  const auto removed = agent.ask(del("b"));
  agent.pass(350ms);
  ASSERT_EQ(added->got.size(), 1U);
  EXPECT_NE(added->got[0].find("not in the kernel yet: the kernel is busy"), std::string::npos) << added->got[0];
  EXPECT_TRUE(removed->got.empty());
  agent.pass(1s);
  EXPECT_EQ(removed->got.at(0), R"({"ok":true})") << "D7: an error would stop the chain";
}

TEST_F(CniRequestsTest, del_takes_the_address_and_ends_its_flows) {  // D3, D-11, X-03
  Agent agent(state_);
  agent.hear({node("n1").pod_cidr("10.0.0.0/24"), pod("web").ip("10.0.0.2")});
  agent.commit();
  agent.requests->on_flows_cut();
  agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_TRUE(agent.ended.empty()) << "within the node's range nothing is labelled that has no pod";
  const auto first = agent.ask(del("a"));
  EXPECT_EQ(files(), 0U);
  agent.commit();
  EXPECT_EQ(first->got.at(0), R"({"ok":true})");
  EXPECT_FALSE(agent.holds(program::Shape::known, "10.0.0.2"));
  agent.ask(add("b", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(agent.ended, std::vector<std::string>{"10.0.0.2"}) << "before the next pod is acknowledged";
  agent.ask(add("c", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(agent.ended.size(), 1U) << "the same pod's next sandbox: its flows are the pod's";
  const auto again = agent.ask(del("a"));
  agent.commit();
  EXPECT_EQ(again->got.size(), 1U);
  EXPECT_TRUE(agent.holds(program::Shape::known, "10.0.0.2")) << "A10: it is the later sandbox's";
  EXPECT_EQ(files(), 2U);
}

TEST_F(CniRequestsTest, flows_of_an_address_beside_the_nodes_ranges_end_before_it_is_acknowledged) {  // X-03
  Agent agent(state_);
  agent.commit();
  agent.requests->on_flows_cut();  // the first walk: from here on what was said before is known to be done
  const auto answers = agent.ask(add("a", "10.0.0.2"));
  EXPECT_TRUE(agent.ended.empty());
  agent.commit();
  EXPECT_EQ(agent.ended, std::vector<std::string>{"10.0.0.2"});
  agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(agent.ended.size(), 1U) << "said again";
  agent.ask(del("a"));
  agent.commit();
  EXPECT_EQ(agent.ended.size(), 1U) << "nobody has it now";
  agent.ask(add("b", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(agent.ended.size(), 2U);
}

TEST_F(CniRequestsTest, add_fails_while_flows_cannot_be_ended) {  // X-03
  Agent agent(state_);
  agent.commit();
  agent.end_error = "conntrack is away";
  const auto refused = agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(refused->got.at(0),
            R"({"error":"flows of the address's former pod cannot be ended: conntrack is away","code":11})");
  agent.end_error.clear();
  const auto again = agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(again->got.at(0), R"({"ok":true,"pod_known":false})");
  EXPECT_EQ(agent.ended, std::vector<std::string>{"10.0.0.2"});
}

TEST_F(CniRequestsTest, an_address_in_the_nodes_range_needs_no_walk_once_its_last_pods_flows_are_cut) {  // X-03
  Agent agent(state_);
  agent.hear({node("n1").pod_cidr("10.0.0.0/24"), pod("old").ip("10.0.0.2"), pod("other").ip("10.0.0.3"), pod("web")});
  agent.commit();
  agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(agent.ended.size(), 1U) << "another pod had it, which was never plugged in by us";
  agent.reconciler.take(
      agent.registry->take(std::vector<store::Event>{store::Remove{{api::Kind::pod, "default", "other"}, ""}}));
  agent.commit();
  agent.requests->on_flows_cut();
  agent.ask(add("b", "10.0.0.3"));
  agent.commit();
  EXPECT_EQ(agent.ended.size(), 1U);
}

TEST_F(CniRequestsTest, del_is_answered_by_an_agent_that_does_not_enforce_yet) {  // D7
  {
    Agent agent(state_);
    agent.commit();
    agent.ask(add("a", "10.0.0.2"));
    agent.commit();
  }
  Agent agent(state_);
  EXPECT_EQ(agent.registry->attachments().all().size(), 1U);
  EXPECT_EQ(agent.ask(del("a"))->got.at(0), R"({"ok":true})");
  EXPECT_EQ(files(), 0U);
}

TEST_F(CniRequestsTest, check_asks_the_kernel) {  // C3, C6
  Agent agent(state_);
  agent.hear({node("n1"), pod("web"), policy("p").deny_ingress()});
  const auto check = [&](const std::string& more = "") {
    return agent.ask(attachment("cni.check", "a", "10.0.0.2", more))->got.at(0);
  };
  EXPECT_NE(check().find(R"("code":11)"), std::string::npos) << "not enforcing is no failed check";
  agent.commit();
  EXPECT_NE(check().find("does not know"), std::string::npos);
  agent.ask(add("a", "10.0.0.2"));
  agent.commit();
  EXPECT_EQ(check(), R"({"ok":true})");
  for (const auto shape : {program::Shape::known, program::Shape::isolated, program::Shape::managed}) {
    auto program = *agent.fake.program();
    program.at({shape, net::Direction::ingress, net::Family::ipv4}).clear();
    const auto whole = *agent.fake.program();
    agent.fake.replace(program);
    const auto answer = check();
    EXPECT_NE(answer.find("10.0.0.2"), std::string::npos) << answer;
    EXPECT_NE(answer.find(R"("code":100)"), std::string::npos) << answer;
    agent.fake.replace(whole);
  }
  EXPECT_EQ(check(), R"({"ok":true})");
}

TEST_F(CniRequestsTest, gc_removes_those_of_the_network_that_are_not_valid) {  // G3, G4
  Agent agent(state_);
  agent.commit();
  for (const char* id : {"a", "b", "c"}) agent.ask(add(id, "10.0.0.2"));
  agent.commit();
  const auto gc = [&](const std::string& rest) {
    const auto answers = agent.ask(R"({"command":"cni.gc")" + rest + "}");
    agent.commit();
    return answers->got.at(0);
  };
  EXPECT_EQ(gc(R"(,"network":"other","valid":[])"), R"({"ok":true,"removed":0})");
  EXPECT_NE(gc(R"(,"network":"net")").find("error"), std::string::npos) << "no list, nothing removed";
  EXPECT_NE(gc(R"(,"network":"net","valid":[{"ifname":"eth0"}])").find("error"), std::string::npos);
  EXPECT_EQ(files(), 3U);
  EXPECT_EQ(gc(R"(,"network":"net","valid":[{"container_id":"b","ifname":"eth0"}])"), R"({"ok":true,"removed":2})");
  EXPECT_EQ(gc(R"(,"network":"net","valid":[])"), R"({"ok":true,"removed":1})");
  EXPECT_EQ(files(), 0U);
}

TEST_F(CniRequestsTest, status_tells_whether_add_can_be_served) {  // S1
  Agent agent(state_);
  const auto status = [&] { return agent.ask(R"({"command":"cni.status"})")->got.at(0); };
  EXPECT_NE(status().find(R"("code":50)"), std::string::npos);
  agent.commit();
  EXPECT_EQ(status(), R"({"ok":true})");
  agent.error = "nftables: refused";
  EXPECT_NE(status().find(R"("code":51)"), std::string::npos);
  EXPECT_NE(agent.ask(R"({"command":"cni.dance"})")->got.at(0).find("error"), std::string::npos);
}

TEST_F(CniRequestsTest, the_journal_is_replayed_before_anything_is_answered) {  // D7
  {
    Agent agent(state_);
    agent.commit();
    agent.ask(add("a", "10.0.0.2"));
    agent.ask(add("b", "10.0.0.3"));
    agent.commit();
  }
  journal("a@eth0", del("a"));
  journal("b@eth0", "cut off {");
  journal("c@eth0", add("c", "10.0.0.4"));
  Agent agent(state_);
  EXPECT_EQ(agent.registry->attachments().all().size(), 1U);
  EXPECT_FALSE(fs::exists(state_ + "/cni-journal/a@eth0"));
  EXPECT_FALSE(fs::exists(state_ + "/cni-journal/b@eth0")) << "its name says enough";
  EXPECT_TRUE(fs::exists(state_ + "/cni-journal/c@eth0")) << "until its interface is open";
  agent.commit();
  EXPECT_FALSE(fs::exists(state_ + "/cni-journal/c@eth0"));
  EXPECT_TRUE(agent.holds(program::Shape::managed, "10.0.0.4"));
  journal("c@eth0", del("c"));
  agent.ask(add("c", "10.0.0.5"));
  agent.commit();
  EXPECT_FALSE(fs::exists(state_ + "/cni-journal/c@eth0"));
  EXPECT_EQ(files(), 1U) << "the later ADD counts";
}

TEST_F(CniRequestsTest, what_cannot_be_an_attachment_is_refused) {
  Agent agent(state_);
  agent.commit();
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{R"("a")", R"("../a")"},
                                                        {R"("eth0")", R"("a/b")"},
                                                        {R"("10.0.0.2")", ""},
                                                        {R"("10.0.0.2")", R"("10.0.0.2/24")"},
                                                        {R"("host_ifindex":1)", R"("host_ifindex":-1)"},
                                                        {R"("host_ifindex":1)", R"("host_ifindex":"1")"},
                                                        {R"("host_interface":"lo")", R"("host_interface":"")"},
                                                        {R"("net")", R"("n/n")"},
                                                        {R"(["10.0.0.2"])", R"("10.0.0.2")"}}) {
    auto json = add("a", "10.0.0.2");
    json.replace(json.find(from), from.size(), to);
    const auto answers = agent.ask(json);
    ASSERT_EQ(answers->got.size(), 1U) << json;
    EXPECT_NE(answers->got[0].find(R"("error")"), std::string::npos) << json;
  }
  EXPECT_EQ(files(), 0U);
}

}  // namespace
}  // namespace podfence::agent
