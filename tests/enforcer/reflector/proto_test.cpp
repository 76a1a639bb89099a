// Protobuf (T15, T16): what kube-apiserver 1.36 sent in both encodings for the same objects must come out the same. The
// files in recorded/ are its answers, byte for byte.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "policy/api/proto_json.h"
#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

std::string recorded(const std::string& name) {
  std::ifstream file(std::filesystem::path(__FILE__).parent_path() / "recorded" / name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

constexpr const char* json = "application/json";
constexpr const char* proto = "application/vnd.kubernetes.protobuf";
constexpr const char* proto_watch = "application/vnd.kubernetes.protobuf;stream=watch";

const std::vector<reflector::Resource>& all_types() {
  static const std::vector<reflector::Resource> all{
      {api::Kind::namespace_, "namespaces", "/api/v1/namespaces"},
      {api::Kind::node, "nodes", "/api/v1/nodes"},
      {api::Kind::pod, "pods", "/api/v1/pods"},
      {api::Kind::network_policy, "networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"},
  };
  return all;
}

void in_pieces(Script& s, const std::string& body, std::size_t length) {
  for (std::size_t at = 0; at < body.size(); at += length) s.bytes(body.substr(at, length));
}

TEST(Proto, T15_lists_say_the_same_in_both_encodings_wherever_they_are_cut) {
  for (const auto& resource : all_types()) {
    Script expected(resource);
    expected.refuse_watch_list();
    expected.head(200, json);
    expected.bytes(recorded(resource.name + ".json"));
    expected.end();
    ASSERT_TRUE(expected.machine.status().synced) << resource.name;
    ASSERT_GE(expected.machine.objects(), 1U) << resource.name;
    EXPECT_TRUE(expected.machine.problems().empty());
    const auto body = recorded(resource.name + ".protobuf");
    for (const std::size_t length : {1UL, 2UL, 7UL, 1000UL, body.size()}) {
      Script s(resource);
      s.refuse_watch_list();
      s.head(200, proto);
      in_pieces(s, body, length);
      s.end();
      ASSERT_TRUE(s.machine.status().synced) << resource.name << ": " << s.machine.status().error;
      EXPECT_EQ(s.cluster, expected.cluster) << resource.name;
      EXPECT_EQ(s.machine.problems().size(), 0U);
    }
  }
}

TEST(Proto, T15_watches_say_the_same_in_both_encodings_wherever_they_are_cut) {
  for (const auto& resource : all_types()) {
    Script expected(resource);
    expected.head(200, json);
    expected.bytes(recorded(resource.name + "_watch.json"));
    ASSERT_TRUE(expected.machine.status().synced) << resource.name;
    const auto body = recorded(resource.name + "_watch.protobuf");
    for (const std::size_t length : {1UL, 3UL, 500UL, body.size()}) {
      Script s(resource);
      s.head(200, proto_watch);
      in_pieces(s, body, length);
      ASSERT_TRUE(s.machine.status().synced) << resource.name << ": " << s.machine.status().error;
      EXPECT_EQ(s.cluster, expected.cluster) << resource.name;
    }
  }
}

TEST(Proto, the_recorded_policy_has_every_field) {
  Script s(all_types()[3]);
  s.refuse_watch_list();
  s.head(200, proto);
  s.bytes(recorded("networkpolicies.protobuf"));
  s.end();
  const auto* all = s.cluster.find_policy("shop", "all");
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(all->pod_selector.requirements.size(), 6U);
  ASSERT_EQ(all->ingress.size(), 2U);
  EXPECT_TRUE(all->ingress[0].any_peer && all->ingress[0].any_port);
  EXPECT_EQ(all->ingress[1].peers.size(), 4U);
  EXPECT_EQ(all->ingress[1].ports.size(), 4U);
  EXPECT_EQ(all->egress.size(), 1U);
}

TEST(Proto, L6_a_list_that_is_cut_anywhere_changes_nothing) {
  const auto body = recorded("pods.protobuf");
  for (std::size_t cut = 0; cut < body.size(); ++cut) {
    Script s;
    s.refuse_watch_list();
    s.head(200, proto);
    s.bytes(body.substr(0, cut));
    s.end();
    // After the list itself come two empty fields of the envelope, of two bytes each.
    const bool whole = cut == body.size() - 4 || cut == body.size() - 2;
    ASSERT_EQ(s.machine.status().synced, whole) << cut << " of " << body.size();
  }
}

TEST(Proto, T16_refusals_and_errors) {
  Script s;
  s.refuse_watch_list();
  s.head(504, proto);
  s.bytes(recorded("toolarge.protobuf"));
  s.end();
  EXPECT_NE(s.machine.status().error.find("Too large resource version"), std::string::npos) << s.machine.status().error;
  s.pass_until_asked();
  Script watching;
  watching.sync({{"a", "1"}}, "100");
  watching.pass(2s);
  watching.end();
  watching.head(200, proto_watch);
  watching.bytes(recorded("expired_watch.protobuf"));
  EXPECT_EQ(watching.machine.status().expired, 1U);
  EXPECT_NE(watching.machine.status().error.find("too old resource version"), std::string::npos);
}

TEST(Proto, W16_garbage_and_frames_that_are_too_long) {
  for (const std::string& garbage : {std::string("\x01\x00\x00\x01", 4), std::string("\0\0\0\1x", 5),
                                     std::string("\0\0\0\4\x0a\2AD", 8), std::string("\0\0\0\0", 4)}) {
    Script s;
    s.sync({{"a", "1"}}, "100");
    s.pass(2s);
    s.end();
    s.head(200, proto_watch);
    s.bytes(garbage);
    EXPECT_FALSE(s.open);
    EXPECT_EQ(s.names(), "a");
    s.pass_until_asked();
    EXPECT_TRUE(s.asks_list());
  }
}

std::string field(unsigned number, const std::string& body) {
  return std::string{static_cast<char>(number << 3U | 2U), static_cast<char>(body.size())} + body;
}

TEST(Proto, a_peer_of_a_kind_that_is_not_known_admits_nobody) {
  const auto known = field(1, field(1, field(1, "a") + field(2, "b")));  // podSelector: matchLabels
  for (const auto& [peer, closes] :
       {std::pair(known, false), std::pair(known + field(9, "new"), false), std::pair(field(9, "new"), true)}) {
    const auto policy = field(1, field(1, "p") + field(3, "shop")) + field(2, field(1, "") + field(2, field(2, peer)));
    const auto text = api::object_from_proto(api::Kind::network_policy, policy);
    ASSERT_TRUE(text);
    api::ItemDecoder decoder(api::Kind::network_policy);
    ASSERT_TRUE(decoder.item(*text)) << *text;
    const auto decoded = decoder.read();
    ASSERT_EQ(decoded.objects.size(), 1U) << *text;
    const auto& read = std::get<api::NetworkPolicy>(decoded.objects.front());
    ASSERT_EQ(read.ingress.size(), 1U);
    EXPECT_FALSE(read.ingress[0].any_peer);
    const bool admits =
        !read.ingress[0].peers.empty() && std::holds_alternative<api::PodPeer>(read.ingress[0].peers[0]);
    EXPECT_EQ(admits, !closes) << *text;
  }
}

TEST(Proto, hostile_numbers) {
  api::ProtoField out;
  for (const std::string& broken :
       {std::string("\0", 1), std::string("\x0b"), std::string("\x0c"), std::string("\x08") + std::string(10, '\xff'),
        std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), std::string("\xff\xff\xff\xff\xff\x01")}) {
    std::string_view bytes = broken;
    EXPECT_FALSE(api::read_proto_field(bytes, out)) << broken.size();
  }
  std::string_view half("\x0a\x80", 2);
  const auto more = api::read_proto_field(half, out);
  ASSERT_TRUE(more);
  EXPECT_FALSE(*more);
  EXPECT_EQ(half.size(), 2U) << "nothing is taken";
  EXPECT_FALSE(api::object_from_proto(api::Kind::pod, field(1, "x").substr(0, 2)));
  EXPECT_FALSE(api::event_from_proto(api::Kind::pod, field(1, "ADDED") + field(2, field(1, "no magic"))));
  EXPECT_FALSE(api::status_from_proto("k8s"));
}

}  // namespace
}  // namespace podfence::test
