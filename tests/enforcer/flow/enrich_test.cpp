#include "enforcer/flow/enrich.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "policy/evaluate/evaluate.h"
#include "tests/support/builders.h"

namespace podfence::flow {
namespace {

using podfence::test::events_of;
using podfence::test::ip;
using podfence::test::node;
using podfence::test::ns;
using podfence::test::pod;
using podfence::test::policy;
using podfence::test::rule;
using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint start = TimePoint(seconds(1'800'000'000));

api::Object with_generation(api::Object object, std::int64_t generation) {
  std::get<api::NetworkPolicy>(object).meta.generation = generation;
  return object;
}

std::vector<api::Object> objects() {
  return {
      ns("shop"),
      ns("db"),
      node("n1").ip("192.0.2.1").pod_cidr("10.0.2.0/24"),
      node("n2").ip("192.0.2.2"),
      pod("web").ns("shop").node("n2").uid("u-web").ip("10.0.1.5").workload("Deployment", "web"),
      pod("pg")
          .ns("db")
          .node("n1")
          .uid("u-pg")
          .ip("10.0.2.9")
          .label("app", "pg")
          .port("postgres", 5432)
          .workload("StatefulSet", "pg"),
      with_generation(
          policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).ingress(rule().pods({{"app", "api"}})), 3)};
}

class EnrichTest : public ::testing::Test {
 protected:
  EnrichTest() { change(objects(), start, start); }

  void apply(std::vector<store::Event> events) {
    enricher_.before(events);
    for (auto& event : events) cluster_.apply(std::move(event));
  }
  void change(std::vector<api::Object> list, TimePoint begin, TimePoint end) {
    apply(events_of(std::move(list)));
    enricher_.after(begin, end);
  }
  void remove(api::Kind kind, const char* namespace_, const char* name, TimePoint t) {
    apply({store::Remove{{kind, namespace_, name}, ""}});
    enricher_.after(t, t);
  }

  static FlowEntry entry(TimePoint t, const char* source = "10.0.1.5", const char* destination = "10.0.2.9",
                         Prefix prefix = {Why::policy, net::Direction::ingress}) {
    FlowEntry e;
    e.key.has_ip = true;
    e.key.source = ip(source);
    e.key.destination = ip(destination);
    e.key.protocol = net::tcp;
    e.key.destination_port = net::Port{5432};
    e.has_port = true;
    e.source_port = net::Port{43210};
    e.key.prefix = prefix;
    e.first = e.last = t;
    e.count = 1;
    return e;
  }
  FlowRecord at(TimePoint t) { return enricher_.describe(entry(t)); }

  static std::string names(const FlowRecord& record) {
    std::string text;
    for (const auto& p : record.policies)
      text += p.namespace_ + "/" + p.name + "@" + std::to_string(p.generation) + " ";
    return text + std::string(name_of(record.attribution));
  }

  store::Cluster cluster_;
  Enricher enricher_{cluster_, "n1"};
};

TEST_F(EnrichTest, HoldsTheLabelsThatAreAskedForAsTheyWereWhenThePacketWasJudged) {
  const auto labelled = [](const char* app) {
    return pod("web").ns("shop").node("n2").uid("u-web").ip("10.0.1.5").label("app", app).label("secret", "s");
  };
  EXPECT_FALSE(at(start + seconds(1)).destination.k8s.labels) << "none by default";
  Enricher enricher(cluster_, "n1", {"app", "tier"});
  enricher.after(start, start);
  const auto then = [&](TimePoint t) { return enricher.describe(entry(t)); };
  EXPECT_EQ(then(start + seconds(1)).destination.k8s.labels, (Labels{{"app", "pg"}}));
  EXPECT_EQ(then(start + seconds(1)).source.k8s.labels, Labels{}) << "it has none of them";
  for (const auto& [app, second] : {std::pair("one", 10), std::pair("two", 20)}) {
    auto events = events_of({labelled(app)});
    enricher.before(events);
    for (auto& event : events) cluster_.apply(std::move(event));
    enricher.after(start + seconds(second), start + seconds(second));
  }
  EXPECT_EQ(then(start + seconds(1)).source.k8s.labels, Labels{});
  EXPECT_EQ(then(start + seconds(15)).source.k8s.labels, (Labels{{"app", "one"}}));
  EXPECT_EQ(then(start + seconds(25)).source.k8s.labels, (Labels{{"app", "two"}}));
}

TEST_F(EnrichTest, NamesBothEndsAndTheIsolatingPolicies) {
  const FlowRecord record = at(start + seconds(1));
  EXPECT_EQ(record.reason, Reason::default_deny);
  EXPECT_EQ(names(record), "db/allow-api@3 set");
  EXPECT_EQ(record.policies[0].uid, "p-1");
  EXPECT_EQ(record.source.type, EndpointType::pod);
  EXPECT_EQ(record.source.k8s.namespace_, "shop");
  EXPECT_EQ(record.source.k8s.pod, "web");
  EXPECT_EQ(record.source.k8s.pod_uid, "u-web");
  EXPECT_EQ(record.source.k8s.workload_kind, "Deployment");
  EXPECT_EQ(record.source.k8s.workload, "web");
  EXPECT_EQ(record.source.k8s.node, "n2");
  EXPECT_EQ(record.source.port, net::Port{43210});
  EXPECT_EQ(record.destination.k8s.pod, "pg");
  EXPECT_EQ(record.destination.k8s.port_name, "postgres");
  EXPECT_EQ(record.destination.port, net::Port{5432});
}

TEST_F(EnrichTest, PoliciesAreThoseThatTheReferenceNames) {
  change({policy("all").ns("db").uid("p-2").deny_ingress(), policy("other").ns("shop").deny_ingress(),
          policy("out").ns("db").deny_egress()},
         start + seconds(1), start + seconds(1));
  const auto* pg = cluster_.find_pod("db", "pg");
  const auto reference = evaluate::isolating(cluster_, *pg, net::Direction::ingress);
  const FlowRecord record = at(start + seconds(5));
  ASSERT_EQ(record.policies.size(), reference.size());
  for (std::size_t i = 0; i < reference.size(); ++i) EXPECT_EQ(record.policies[i].name, reference[i]->meta.name);
}

TEST_F(EnrichTest, KindsOfEnds) {
  const auto source = [&](const char* address) {
    return enricher_.describe(entry(start + seconds(1), address)).source;
  };
  EXPECT_EQ(source("192.0.2.2").type, EndpointType::node);
  EXPECT_EQ(source("192.0.2.2").k8s.node, "n2");
  EXPECT_EQ(source("8.8.8.8").type, EndpointType::world);
  EXPECT_EQ(source("10.0.2.77").type, EndpointType::unknown) << "of this node's pod range, of no known pod";
}

TEST_F(EnrichTest, WhyBecomesTheReason) {
  const auto record = [&](Prefix prefix) {
    return enricher_.describe(entry(start + seconds(1), "10.0.1.5", "10.0.2.9", prefix));
  };
  EXPECT_EQ(names(record({Why::reply, net::Direction::ingress})), "db/allow-api@3 set");
  EXPECT_TRUE(record({Why::reply, net::Direction::ingress}).reply);
  EXPECT_EQ(record({Why::unknown, net::Direction::ingress}).reason, Reason::fail_closed);
  EXPECT_EQ(names(record({Why::unknown, net::Direction::ingress})), "none");
  EXPECT_EQ(record({}).verdict, Verdict::error);
  EXPECT_EQ(record({}).reason, Reason::unattributed);
}

TEST_F(EnrichTest, ASpoofedSourceIsNamedByItsInterfaceAndNeverAfterThePodItForged) {
  enricher_.set_interfaces({{7, {"veth7", "db", "pg", "u-pg"}}}, start);
  FlowEntry forged = entry(start + seconds(1), "10.0.1.5", "10.0.2.9", {Why::spoof, net::Direction::egress});
  forged.key.interface = 7;
  FlowRecord record = enricher_.describe(forged);
  EXPECT_EQ(record.reason, Reason::spoofed_source);
  EXPECT_EQ(record.source.k8s.pod, "pg");
  EXPECT_EQ(record.source.k8s.workload, "pg");
  EXPECT_EQ(record.interface, "veth7");
  forged.key.interface = 8;
  record = enricher_.describe(forged);
  EXPECT_EQ(record.source.type, EndpointType::unknown);
  EXPECT_EQ(record.source.k8s.pod, "");
}

// D-13
TEST_F(EnrichTest, AnAddressThatWasReusedIsAttributedByTheTimeOfThePacket_D_13) {
  const TimePoint t1 = start + seconds(10);
  remove(api::Kind::pod, "shop", "web", t1);
  change({pod("job").ns("shop").node("n2").uid("u-job").ip("10.0.1.5")}, t1 + milliseconds(500),
         t1 + milliseconds(500));
  EXPECT_EQ(at(t1 - milliseconds(100)).source.k8s.pod_uid, "u-web");
  EXPECT_EQ(at(t1 + milliseconds(250)).source.k8s.pod_uid, "") << "between the two nobody had it";
  EXPECT_EQ(at(t1 + milliseconds(600)).source.k8s.pod_uid, "u-job");
}

TEST_F(EnrichTest, APolicyThatChangedIsNamedInTheGenerationOfThePacket) {
  const TimePoint t1 = start + seconds(10);
  change({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 4)}, t1,
         t1 + milliseconds(20));
  EXPECT_EQ(names(at(t1 - milliseconds(10))), "db/allow-api@3 stale");
  EXPECT_EQ(names(at(t1 + milliseconds(40))), "db/allow-api@4 set");
  EXPECT_EQ(names(at(t1 + milliseconds(10))), "none") << "while it was committed either may have held";
}

TEST_F(EnrichTest, APacketStampedJustAfterACommitMayHaveMetTheOldRules) {
  const TimePoint t1 = start + seconds(10);
  change({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 4)}, t1, t1);
  EXPECT_EQ(names(at(t1 + milliseconds(1))), "none");
  EXPECT_EQ(names(at(t1 - milliseconds(1))), "none");
}

TEST_F(EnrichTest, APolicyThatHeldBeforeAndAfterIsNamedDuringACommit) {
  const TimePoint t1 = start + seconds(10);
  change({policy("second").ns("db").uid("p-2").deny_ingress()}, t1, t1 + milliseconds(20));
  EXPECT_EQ(names(at(t1 + milliseconds(10))), "db/allow-api@3 stale");
}

TEST_F(EnrichTest, AChangeThatIsNotCommittedYetHasNoEffect) {
  apply(
      events_of({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 4)}));
  EXPECT_EQ(names(at(start + seconds(20))), "db/allow-api@3 set");
  enricher_.after(start + seconds(30), start + seconds(30));
  EXPECT_EQ(names(at(start + seconds(20))), "db/allow-api@3 stale");
  EXPECT_EQ(names(at(start + seconds(31))), "db/allow-api@4 set");
}

TEST_F(EnrichTest, ARemovedPolicyAndARemovedPodAreStillKnown) {
  const TimePoint t1 = start + seconds(10);
  remove(api::Kind::network_policy, "db", "allow-api", t1);
  remove(api::Kind::pod, "db", "pg", t1 + seconds(1));
  const FlowRecord record = at(t1 - seconds(1));
  EXPECT_EQ(names(record), "db/allow-api@3 stale");
  EXPECT_EQ(record.destination.k8s.pod_uid, "u-pg");
  EXPECT_EQ(names(at(t1 + seconds(5))), "none");
}

TEST_F(EnrichTest, LabelsOfTheLocalPodCountAsTheyWere) {
  const TimePoint t1 = start + seconds(10);
  change({pod("pg").ns("db").node("n1").uid("u-pg").ip("10.0.2.9").label("app", "old")}, t1, t1);
  EXPECT_EQ(names(at(t1 - seconds(1))), "db/allow-api@3 stale");
  EXPECT_EQ(names(at(t1 + seconds(1))), "none");
}

TEST_F(EnrichTest, ARecordOverAChangeNamesOnlyWhatHeldAllTheTime) {
  const TimePoint t1 = start + seconds(10);
  change({policy("second").ns("db").uid("p-2").deny_ingress()}, t1, t1);
  remove(api::Kind::network_policy, "db", "allow-api", t1 + seconds(2));
  FlowEntry e = entry(t1 - seconds(1));
  e.last = t1 + seconds(1);
  EXPECT_EQ(names(enricher_.describe(e)), "db/allow-api@3 stale");
  e.last = t1 + seconds(3);
  EXPECT_EQ(names(enricher_.describe(e)), "none");
}

TEST_F(EnrichTest, VersionsDifferAcrossAChangeThatMattersAndOnlyThen) {
  const TimePoint t1 = start + seconds(10);
  const auto before = enricher_.version(entry(t1 - seconds(1)));
  change({policy("far").ns("shop").deny_ingress(), pod("x").ns("shop").node("n2").ip("10.0.1.77")}, t1, t1);
  EXPECT_EQ(enricher_.version(entry(t1 + seconds(1))), before);
  change({policy("near").ns("db").deny_ingress()}, t1 + seconds(2), t1 + seconds(2));
  EXPECT_EQ(enricher_.version(entry(t1 + seconds(1))), before) << "a packet from before the change";
  EXPECT_NE(enricher_.version(entry(t1 + seconds(3))), before);
}

TEST_F(EnrichTest, APacketFromBeforeTheFirstCommitTakesNothingFromLaterOnes) {
  Enricher fresh(cluster_, "n1");
  fresh.after(start + seconds(1), start + seconds(2));
  EXPECT_NE(fresh.version(entry(start + milliseconds(1500))), fresh.version(entry(start + seconds(3))))
      << "they would share a record, which would say nothing";
  EXPECT_EQ(fresh.version(entry(start + seconds(3))), fresh.version(entry(start + seconds(4))));
}

TEST_F(EnrichTest, WhereNothingWasInForceTheFirstCommitDeniedWhatComesInIt) {
  Enricher fresh(cluster_, "n1");
  fresh.begin_with_nothing();
  fresh.after(start + seconds(1), start + seconds(2));
  EXPECT_EQ(names(fresh.describe(entry(start + milliseconds(1001)))), "db/allow-api@3 set");
  EXPECT_EQ(names(fresh.describe(entry(start + milliseconds(900)))), "none");
}

TEST_F(EnrichTest, NothingIsSaidOfTheTimeBeforeTheFirstCommit) {
  store::Cluster cluster = cluster_;
  Enricher fresh(cluster, "n1");
  EXPECT_EQ(names(fresh.describe(entry(start))), "none");
  fresh.after(start + seconds(1), start + seconds(1));
  EXPECT_EQ(names(fresh.describe(entry(start))), "none");
  EXPECT_EQ(names(fresh.describe(entry(start + seconds(2)))), "db/allow-api@3 set");
}

TEST_F(EnrichTest, C14_AClockThatIsSetBackAnHourBringsNoOldPolicyBack) {
  const TimePoint t1 = start + seconds(3600);
  change({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 4)}, t1, t1);
  enricher_.notice(t1 + seconds(1));
  enricher_.notice(start + seconds(5));
  EXPECT_EQ(names(at(start + seconds(6))), "db/allow-api@4 set");
  EXPECT_EQ(names(at(t1 - seconds(1))), "none") << "of the clock before, and read late";
  EXPECT_NE(enricher_.version(entry(t1 - seconds(1))), enricher_.version(entry(start + seconds(6))));
  change({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 5)},
         start + seconds(10), start + seconds(10));
  EXPECT_EQ(names(at(start + seconds(9))), "db/allow-api@4 stale");
  EXPECT_EQ(names(at(start + seconds(11))), "db/allow-api@5 set");
}

TEST_F(EnrichTest, C14_ATimeThatComesTwiceIsOfNeither) {
  const TimePoint t1 = start + seconds(10);
  change({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 4)}, t1, t1);
  enricher_.notice(t1 + seconds(2));
  enricher_.notice(t1 - seconds(2));
  EXPECT_EQ(names(at(t1 - seconds(1))), "none");
  EXPECT_EQ(names(at(t1 + seconds(1))), "none");
  enricher_.notice(t1 + seconds(3));
  EXPECT_EQ(names(at(t1 + seconds(3))), "db/allow-api@4 set");
}

TEST_F(EnrichTest, C14_AChangeThatIsAnnouncedOutlivesAClockThatIsSetBack) {
  enricher_.notice(start + seconds(3600));
  apply(
      events_of({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 4)}));
  enricher_.notice(start + seconds(10));
  EXPECT_EQ(names(at(start + seconds(20))), "db/allow-api@3 set");
  enricher_.after(start + seconds(30), start + seconds(30));
  EXPECT_EQ(names(at(start + seconds(20))), "db/allow-api@3 stale");
  EXPECT_EQ(names(at(start + seconds(31))), "db/allow-api@4 set");
}

TEST_F(EnrichTest, MemoryIsBoundedAndForgets) {
  for (int i = 0; i < 20'000; ++i) {
    const auto t = start + milliseconds(i);
    change({with_generation(policy("allow-api").ns("db").uid("p-1").selects({{"app", "pg"}}).deny_ingress(), 10 + i)},
           t, t);
  }
  EXPECT_LE(enricher_.remembered_changes(), Enricher::most_changes * 2);
  EXPECT_EQ(names(at(start + milliseconds(100))), "none") << "of a time that memory was too short for";
  EXPECT_EQ(names(at(start + seconds(30))), "db/allow-api@20009 set");
  enricher_.notice(start + seconds(300));
  enricher_.forget(start + seconds(300));
  EXPECT_EQ(enricher_.remembered_changes(), 0U);
  EXPECT_EQ(names(at(start + seconds(299))), "db/allow-api@20009 set");
}

}  // namespace
}  // namespace podfence::flow
