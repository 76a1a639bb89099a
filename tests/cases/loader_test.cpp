// The loader of data cases: what it makes of a file, and that it refuses what it does not understand.
#include <gmock/gmock.h>

#include <fstream>
#include <stdexcept>

#include "tests/support/case_file.h"

namespace podfence::test {
namespace {

namespace fs = std::filesystem;

class Loader : public testing::Test {
 protected:
  std::vector<Case> load(const std::string& text) {
    const auto name = testing::UnitTest::GetInstance()->current_test_info()->name();
    const auto path = fs::path(testing::TempDir()) / (std::string("podfence_") + name + ".yaml");
    std::ofstream(path) << text;
    auto cases = load_case_file(path);
    fs::remove(path);
    return cases;
  }
};

constexpr const char* objects = R"(
node: n1
objects:
  - {apiVersion: v1, kind: Pod, metadata: {namespace: s, name: a}, spec: {nodeName: n1},
     status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
  - {apiVersion: v1, kind: Pod, metadata: {namespace: s, name: b, labels: {version: "1", flag: "true"}},
     spec: {nodeName: n1}, status: {phase: Running, podIPs: [{ip: 10.0.0.2}]}}
)";

std::string with_flow(const std::string& flow) {
  return std::string(objects) + "cases: [{case: c, rows: [I-01], flows: [" + flow + "]}]\n";
}

TEST_F(Loader, ReadsObjectsAndFlows) {
  const auto cases =
      load(with_flow("{from: [s/a, 192.0.2.1], to: s/b, port: [80, 81], verdict: deny, at: everywhere}"));
  ASSERT_EQ(cases.size(), 1u);
  const auto& step = cases[0].steps.at(0);
  EXPECT_THAT(step.errors, testing::IsEmpty());
  EXPECT_EQ(step.events.size(), 2u);
  ASSERT_EQ(step.flows.size(), 4u);
  EXPECT_EQ(step.flows[1].text(), "s/a -> s/b:81/TCP everywhere");
  EXPECT_FALSE(step.flows[1].allowed);
}

TEST_F(Loader, QuotedScalarsStayTexts) {
  const auto cases = load(with_flow("{from: s/a, to: s/b, port: 80, verdict: allow}"));
  const auto& upsert = std::get<store::Upsert>(cases[0].steps[0].events[1]);
  const auto& pod = std::get<api::Pod>(upsert.object);
  EXPECT_EQ(api::find_label(pod.meta.labels, "version"), "1");
  EXPECT_EQ(api::find_label(pod.meta.labels, "flag"), "true");
}

TEST_F(Loader, PairsAddressesOfOneFamily) {
  const auto cases = load(with_flow("{from: s/a, to: [s/b, s/a], protocol: ICMP, verdict: allow}"));
  store::Cluster cluster;
  for (const auto& event : cases[0].steps[0].events) cluster.apply(event);
  const auto to_other = flows_of(cases[0].steps[0].flows[0], cluster);
  ASSERT_EQ(to_other.size(), 1u);
  EXPECT_EQ(to_other[0].source.text(), "10.0.0.1");
  EXPECT_EQ(to_other[0].protocol, net::icmp);
  const auto to_itself = flows_of(cases[0].steps[0].flows[1], cluster);
  ASSERT_EQ(to_itself.size(), 2u);
  EXPECT_EQ(to_itself[1].protocol, net::icmpv6);
}

TEST_F(Loader, LeavesOutIpv4WhenAsked) {
  const auto cases = load(with_flow("{from: [s/a, 192.0.2.1], to: s/b, port: 80, verdict: allow}"));
  const auto six = only_ipv6(cases[0]);
  EXPECT_EQ(six.steps[0].flows.size(), 1u);
  const auto& pod = std::get<api::Pod>(std::get<store::Upsert>(six.steps[0].events[0]).object);
  ASSERT_EQ(pod.ips.size(), 1u);
  EXPECT_EQ(pod.ips[0].text(), "fd00::1");
}

TEST_F(Loader, RefusesWhatItDoesNotUnderstand) {
  const std::vector<std::string> bad{
      with_flow("{from: s/a, to: s/b, port: 80, verdict: maybe}"),
      with_flow("{from: s/a, to: s/b, port: 80}"),
      with_flow("{from: s/a, to: s/b, verdict: deny}"),  // no port
      with_flow("{from: s/a, to: s/b, port: 65536, verdict: deny}"),
      with_flow("{from: s/a, to: s/b, port: 80, verdikt: deny}"),
      with_flow("{from: s/a, port: 80, verdict: deny}"),
      with_flow("{from: 10.0.0.1, to: 'fd00::1', port: 80, verdict: deny}"),  // no such packet
      with_flow("{from: s/a, to: s/b, port: 80, protocol: QUIC, verdict: deny}"),
      with_flow(""),
      std::string(objects),  // no cases
      "world: none-of-that-name\ncases: []\n",
      "cases: [",
  };
  for (const auto& text : bad) EXPECT_THROW(load(text), std::runtime_error) << text;
}

TEST_F(Loader, RefusesUnknownPodsWhenAsked) {
  const auto cases = load(with_flow("{from: s/nobody, to: s/b, port: 80, verdict: allow}"));
  EXPECT_THROW(flows_of(cases[0].steps[0].flows[0], store::Cluster()), std::runtime_error);
}

}  // namespace
}  // namespace podfence::test
