// What status shows, as JSON and for people.
#include "enforcer/agent/status.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include "tests/enforcer/agent/worlds.h"

namespace podfence::agent {
namespace {

using namespace std::literals;
using program::SetId;
using program::Shape;

/// A reconciler on a kernel, and what the agent would add.
struct Node {
  explicit Node(const std::vector<api::Object>& objects, const std::string& name = "n1")
      : reconciler(settings(name), kernel) {
    reconciler.take(upserts(objects));
  }
  StatusInputs inputs() const {
    StatusInputs in{.version = "1.2.3",
                    .reconciler = reconciler,
                    .activity = activity,
                    .files = files,
                    .source = "dir:/etc/policies",
                    .flows_json = flows,
                    .unguarded = unguarded,
                    .guard_error = {}};
    return in;
  }
  std::string json() const { return status_json(inputs()); }
  std::string text() const {
    auto text = status_text(json());
    if (!text) ADD_FAILURE() << text.error().what();
    return text.value_or("");
  }

  test::FakeKernel kernel;
  Reconciler reconciler;
  Activity activity;
  std::vector<FileProblem> files;
  std::string flows;
  std::vector<std::string> unguarded;
};

/// A JSON text that must be one; the element lives as long as this.
struct Parsed {
  explicit Parsed(const std::string& json) {
    const auto error = parser.parse(simdjson::padded_string(json)).get(root);
    if (error) ADD_FAILURE() << simdjson::error_message(error) << ": " << json;
  }
  std::string text(const char* pointer) {
    std::string_view text;
    return root.at_pointer(pointer).get(text) ? "<none>"s : std::string(text);
  }
  std::int64_t number(const char* pointer) {
    std::int64_t number = -1;
    return root.at_pointer(pointer).get(number) ? -1 : number;
  }
  simdjson::dom::parser parser;
  simdjson::dom::element root;
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(Status, begins_as_starting_and_becomes_enforcing) {
  Node node(shop());
  EXPECT_EQ(state_of(node.inputs()), "starting");
  node.reconciler.start();
  node.activity.enforcing_since = Clock::time_point(1'700'000'000s);
  EXPECT_EQ(state_of(node.inputs()), "enforcing");
  Parsed json(node.json());
  EXPECT_EQ(json.text("/state"), "enforcing");
  EXPECT_EQ(json.text("/version"), "1.2.3");
  EXPECT_EQ(json.text("/node"), "n1");
  EXPECT_EQ(json.text("/source"), "dir:/etc/policies");
  EXPECT_EQ(json.text("/enforcing_since"), "2023-11-14T22:13:20Z");
  EXPECT_EQ(json.number("/counts/local_pods"), 2);
  EXPECT_EQ(json.number("/counts/pods"), 3);
  EXPECT_EQ(json.number("/counts/policies"), 1);
  EXPECT_EQ(json.number("/counts/relevant_policies"), 1);
}

TEST(Status, is_degraded_by_a_file_a_refusal_or_a_failed_commit) {
  Node node(shop());
  node.reconciler.start();
  node.activity.enforcing_since = Clock::now();
  node.files.push_back({"/etc/policies/a.yaml", true, {"a.yaml: line 3: bad"}});
  EXPECT_EQ(state_of(node.inputs()), "degraded");
  node.files.clear();
  node.activity.last_error = "EBUSY";
  EXPECT_EQ(state_of(node.inputs()), "degraded");
  EXPECT_TRUE(has(node.text(), "ERROR    EBUSY")) << node.text();
}

TEST(Status, shows_pods_and_who_isolates_them) {
  Node node(shop());
  node.reconciler.start();
  Parsed json(node.json());
  EXPECT_EQ(json.text("/pods/0/pod"), "cli");
  EXPECT_EQ(json.text("/pods/0/isolated_by/ingress/0"), "<none>");
  EXPECT_EQ(json.text("/pods/1/namespace"), "shop");
  EXPECT_EQ(json.text("/pods/1/pod"), "web");
  EXPECT_EQ(json.text("/pods/1/ips/0"), "10.0.0.1");
  EXPECT_EQ(json.text("/pods/1/ips/1"), "fd00::1");
  EXPECT_EQ(json.text("/pods/1/isolated_by/ingress/0"), "web");
  EXPECT_EQ(json.text("/pods/1/isolated_by/egress/0"), "web");
  EXPECT_EQ(json.text("/pods/2/pod"), "<none>") << "a pod of another node is not shown";
  EXPECT_TRUE(has(node.text(), "shop/web  10.0.0.1,fd00::1  ingress: web  egress: web\n")) << node.text();
  EXPECT_TRUE(has(node.text(), "shop/cli  10.0.0.2  ingress: -  egress: -\n")) << node.text();
}

TEST(Status, shows_which_policies_are_inert_and_why) {
  auto objects = shop();
  objects.push_back(test::policy("idle").ns("shop").selects({{"app", "nobody"}}).deny_egress());
  objects.push_back(test::policy("away").ns("elsewhere").deny_ingress());
  Node node(objects);
  node.reconciler.start();
  Parsed json(node.json());
  EXPECT_EQ(json.text("/policies/0/policy"), "away");
  EXPECT_EQ(json.text("/policies/0/inert"), "selects no pod of this node");
  EXPECT_EQ(json.text("/policies/1/policy"), "idle");
  EXPECT_EQ(json.number("/policies/1/selected_pods"), 0);
  EXPECT_EQ(json.text("/policies/2/inert"), "<none>");
  EXPECT_EQ(json.number("/policies/2/selected_pods"), 1);
  const auto text = node.text();
  EXPECT_TRUE(has(text, "shop/idle  egress  inert: selects no pod of this node\n")) << text;
  EXPECT_TRUE(has(text, "elsewhere/away  ingress  inert: ")) << text;
  EXPECT_TRUE(has(text, "shop/web  ingress,egress  1 pods\n")) << text;
}

// R-12: a refusal is a visible error.
TEST(Status, R_12_shows_what_the_kernel_refused) {
  Node node(shop());
  const SetId ports{Shape::class_port, net::Direction::ingress, net::Family::ipv4};
  const auto refused = node.reconciler.compiler().program().at(ports).front();
  node.kernel.refuse(ports, refused);
  node.reconciler.start();
  node.activity.enforcing_since = Clock::now();
  EXPECT_EQ(state_of(node.inputs()), "degraded");
  Parsed json(node.json());
  EXPECT_EQ(json.text("/withheld/0/set"), "in_port4");
  EXPECT_EQ(json.text("/withheld/0/element"), program::text_of(ports, refused));
  EXPECT_TRUE(has(json.text("/withheld/0/why"), "fake kernel"));
  EXPECT_TRUE(has(node.text(), "REFUSED BY THE KERNEL")) << node.text();
  EXPECT_TRUE(has(node.text(), "in_port4 " + program::text_of(ports, refused))) << node.text();
}

TEST(Status, shows_files_losses_and_what_is_not_guarded) {
  Node node(shop());
  node.reconciler.start();
  node.files = {{"/p/a.yaml", true, {"/p/a.yaml: line 3: bad"}}, {"/p/b.yaml", false, {"one", "two"}}};
  node.unguarded = {"10.0.0.1", "fd00::1"};
  node.flows = R"({"denied":10,"recorded":7,"lost":3})";
  const auto text = node.text();
  EXPECT_TRUE(has(text, "/p/a.yaml: its last good content is enforced\n    /p/a.yaml: line 3: bad\n")) << text;
  EXPECT_TRUE(has(text, "/p/b.yaml\n    one\n    two\n")) << text;
  EXPECT_TRUE(has(text, "10.0.0.1,fd00::1\n")) << text;
  EXPECT_TRUE(has(text, "10 packets: 7 in records, 3 stated as lost")) << text;
}

TEST(Status, shows_commits_and_drift) {
  Node node(shop());
  node.activity.commits = 12;
  node.activity.last_commit = Clock::time_point(0s);
  node.activity.last_commit_operations = 5;
  node.activity.last_commit_took = 321us;
  node.activity.drift_repairs = 2;
  node.activity.drift_operations = 9;
  node.activity.flows_revoked = 4;
  node.activity.revoke_error = "EPERM";
  const auto text = node.text();
  EXPECT_TRUE(has(text, "12, the last 1970-01-01T00:00:00Z with 5 operations in 321 us")) << text;
  EXPECT_TRUE(has(text, "2 repairs, 9 operations")) << text;
  EXPECT_TRUE(has(text, "4 established flows EPERM")) << text;
}

/// Names that would break JSON, move a cursor, forge a line or turn the writing direction.
const std::string hostile =
    "a\"\\\n\r\t\x1b[2J\x7f\xff\xc3(\xc2\x9b"
    "5m\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6"
    "\0z"s;

std::vector<api::Object> hostile_objects() {
  return {test::pod(hostile).ns(hostile).label("app", hostile).ip("10.0.0.1"),
          test::policy(hostile).ns(hostile).selects({{"app", hostile}}).deny_ingress(),
          test::policy("idle" + hostile).ns(hostile + "x").deny_ingress()};
}

TEST(Status, is_json_whatever_the_names_hold) {
  Node node(hostile_objects());
  node.reconciler.start();
  node.files = {{hostile, true, {hostile}}};
  node.activity.last_error = hostile;
  node.activity.revoke_error = hostile;
  node.unguarded = {hostile};
  const auto json = node.json();
  for (const char c : json) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << "one line, no control characters";
  Parsed parsed(json);
  EXPECT_TRUE(parsed.text("/pods/0/pod").starts_with("a\"\\\n\r\t\x1b[2J"));
  EXPECT_TRUE(parsed.text("/files/0/errors/0").starts_with("a\"\\\n"));
}

TEST(Status, as_text_has_no_control_characters_whatever_the_names_hold) {
  Node node(hostile_objects());
  node.reconciler.start();
  const auto before = node.text();
  const auto lines = std::count(before.begin(), before.end(), '\n');
  node.files = {{hostile, true, {hostile}}};
  node.activity.last_error = hostile;
  node.activity.revoke_error = hostile;
  node.unguarded = {hostile};
  const auto text = node.text();
  for (const char c : text) {
    EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n') << static_cast<int>(c);
    EXPECT_NE(c, '\x7f');
  }
  for (const std::string_view bad : {"\xc2\x9b"sv, "\xe2\x80\xa8"sv, "\xe2\x80\xae"sv, "\xe2\x81\xa6"sv}) {
    EXPECT_FALSE(has(text, bad));
  }
  EXPECT_TRUE(has(text, "a\"\\???"));
  // The error line, three lines for files, three for what is not guarded.
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), lines + 1 + 4 + 3) << text;
}

TEST(Status, shows_each_type_of_the_kubernetes_api) {
  Node node(shop());
  auto in = node.inputs();
  node.activity.enforcing_since = Clock::now();
  in.types = {{.name = "pods",
               .state = "watching",
               .synced = true,
               .cursor = "77",
               .objects = 3,
               .last_event_age = 5.4,
               .last_contact_age = 1.2,
               .lists = 3,
               .rollbacks = 1},
              {.name = "nodes", .state = "starting"}};
  Parsed json(status_json(in));
  EXPECT_EQ(json.text("/kubernetes/0/type") + " " + json.text("/kubernetes/0/cursor"), "pods 77");
  EXPECT_EQ(json.number("/kubernetes/0/relists"), 2);
  EXPECT_EQ(json.number("/kubernetes/0/rollbacks"), 1);
  EXPECT_EQ(json.number("/kubernetes/1/relists"), 0);
  EXPECT_EQ(json.text("/kubernetes/1/last_contact_age_seconds"), "<none>");
  EXPECT_EQ(state_of(in), "enforcing");
  in.types[1].error = "answered 403\x1b: no";
  EXPECT_EQ(state_of(in), "degraded");
  const auto text = status_text(status_json(in)).value();
  EXPECT_TRUE(
      has(text, "pods             watching  3 objects at 77, last event 5 s ago, last contact 1 s ago, 2 relists"))
      << text;
  EXPECT_TRUE(has(text, "ERROR answered 403?: no"));
}

TEST(Status, says_that_a_checkpoint_is_enforced_and_how_old_it_is) {
  Node node({test::pod("web")});
  auto in = node.inputs();
  in.checkpoint = CheckpointStatus{.file = "/var/lib/podfence/checkpoint", .enforced = true};
  EXPECT_FALSE(is_fail_static(in)) << "nothing is enforced yet";
  node.activity.enforcing_since = Clock::now();
  in.checkpoint->written = Clock::now() - 90s;
  in.checkpoint->writes = 3;
  Parsed json(status_json(in));
  EXPECT_EQ(json.text("/state"), "degraded");
  EXPECT_EQ(json.number("/checkpoint/writes"), 3);
  bool fail_static = false;
  double age = 0;
  EXPECT_FALSE(json.root.at_pointer("/fail_static").get(fail_static));
  EXPECT_TRUE(fail_static);
  EXPECT_FALSE(json.root.at_pointer("/checkpoint/age_seconds").get(age));
  EXPECT_GE(age, 89);
  EXPECT_NE(status_text(status_json(in))->find("s old: the API server has not said everything yet"), std::string::npos);
  in.checkpoint->enforced = false;
  EXPECT_EQ(state_of(in), "enforcing");
  in.checkpoint->error = "no space";
  in.checkpoint->ignored = "is damaged";
  EXPECT_EQ(state_of(in), "degraded");
  const auto text = status_text(status_json(in)).value_or("");
  EXPECT_NE(text.find("ERROR no space"), std::string::npos);
  EXPECT_NE(text.find("was ignored: is damaged"), std::string::npos);
}

TEST(Status, text_shows_the_agents_error_and_refuses_what_is_no_status) {
  const auto error = status_text(R"({"error":"not now\u001b[2J"})");
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code(), Errc::refused);
  EXPECT_EQ(error.error().what(), "not now?[2J");
  for (const char* bad : {"", "{", "nonsense", "{}x"}) EXPECT_FALSE(status_text(bad)) << bad;
  for (const char* odd : {"{}", "[]", "1", R"({"pods":1,"files":{},"policies":[1,null,"x"],"withheld":[[]]})"}) {
    EXPECT_TRUE(status_text(odd)) << odd << ": shows what there is";
  }
}

TEST(Status, random_clusters_give_json_and_text) {
  for_each_history(50, [](test::Random& random) {
    const auto world = test::random_world(random);
    Node node(world.objects, world.node);
    node.reconciler.start();
    Parsed json(node.json());
    EXPECT_EQ(json.number("/counts/policies"),
              static_cast<std::int64_t>(node.reconciler.compiler().cluster().policies().size()));
    EXPECT_FALSE(node.text().empty());
  });
}

}  // namespace
}  // namespace podfence::agent
