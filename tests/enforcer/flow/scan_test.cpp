// What one end tries at many ports or at many ends: few records, all packets, and nobody else's room.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "enforcer/flow/aggregate.h"
#include "enforcer/flow/detect.h"
#include "enforcer/flow/enrich.h"
#include "enforcer/flow/filter.h"
#include "enforcer/flow/format.h"
#include "tests/support/builders.h"

namespace podfence::flow {
namespace {

using podfence::test::ip;
using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint start = TimePoint(seconds(1'800'000'000));

struct Sent {
  net::IpAddr source = ip("10.0.1.5");
  net::IpAddr destination = ip("10.0.2.9");
  std::uint16_t port = 80;
  net::Direction direction = net::Direction::egress;
  Why why = Why::policy;
};

FlowEntry packet(const Sent& sent, TimePoint now) {
  LoggedPacket logged;
  logged.prefix = {sent.why, sent.direction};
  logged.has_ip = true;
  logged.source = sent.source;
  logged.destination = sent.destination;
  logged.protocol = net::tcp;
  logged.source_port = net::Port{40'000};
  logged.destination_port = net::Port{sent.port};
  logged.in_interface = 3;
  logged.bytes = 60;
  return entry_of(logged, now);
}

net::IpAddr numbered(unsigned number) {
  return net::IpAddr::v4(10, static_cast<std::uint8_t>(number >> 16U), static_cast<std::uint8_t>(number >> 8U),
                         static_cast<std::uint8_t>(number));
}

std::uint64_t packets_in(const std::vector<FlowEntry>& entries) {
  std::uint64_t packets = 0;
  for (const auto& entry : entries) packets += entry.count;
  return packets;
}

TEST(Scan, OfEveryPortIsAFewRecordsWithEveryPacket) {
  Aggregator aggregator;
  std::vector<FlowEntry> given;
  for (unsigned port = 1; port <= 65'535; ++port) {  // 100 a second, as the kernel logs them
    const auto now = start + milliseconds(10 * port);
    if (port % 100 == 0) {
      for (auto& entry : aggregator.take_due(now)) given.push_back(std::move(entry));
    }
    EXPECT_FALSE(aggregator.add(packet({.port = static_cast<std::uint16_t>(port)}, now), now));
  }
  for (auto& entry : aggregator.take_all()) given.push_back(std::move(entry));
  EXPECT_EQ(packets_in(given), 65'535U);
  EXPECT_LT(given.size(), 100U);
  std::uint64_t ports = 0;
  for (const auto& entry : given) {
    EXPECT_EQ(entry.key.destination, ip("10.0.2.9"));
    ports += entry.scan ? entry.scan->ports : 1;
    if (!entry.scan) continue;
    EXPECT_EQ(entry.scan->ports, entry.count) << "each was tried once";
    EXPECT_EQ(entry.scan->port_examples.size(), std::min<std::uint64_t>(entry.count, Scan::most_examples));
    EXPECT_FALSE(entry.has_port);
    EXPECT_FALSE(entry.scan->at_least);
  }
  EXPECT_EQ(ports, 65'535U);
}

TEST(Scan, OfManyEndsNamesTheOneThatDoesIt) {
  Aggregator aggregator;
  for (unsigned i = 1; i <= 500; ++i) aggregator.add(packet({.destination = numbered(i), .port = 22}, start), start);
  const auto given = aggregator.take_due(start + seconds(5));
  EXPECT_EQ(given.size(), 33U);
  EXPECT_EQ(packets_in(given), 500U);
  const FlowEntry& sweep = given.back();
  ASSERT_TRUE(sweep.scan);
  EXPECT_EQ(sweep.key.source, ip("10.0.1.5"));
  EXPECT_EQ(sweep.key.destination_port, net::Port{22});
  EXPECT_EQ(sweep.scan->ends, 468U);
  EXPECT_EQ(sweep.scan->end_examples.front(), numbered(33));
  EXPECT_EQ(sweep.scan->ports, 0U);
}

TEST(Scan, ManyClientsOfOnePodKeepTheirRecords) {
  Aggregator aggregator;
  for (unsigned i = 1; i <= 500; ++i)
    aggregator.add(packet({.source = numbered(i), .direction = net::Direction::ingress}, start), start);
  EXPECT_EQ(aggregator.take_all().size(), 500U);
}

TEST(Scan, ANoisyPodTakesABoundedPartAndEvictsNobody) {
  Aggregator aggregator({.most_entries = 4000});
  const auto quiet = [&](unsigned i) { return packet({.source = numbered(i), .port = 443}, start); };
  for (unsigned i = 0; i < 500; ++i) EXPECT_FALSE(aggregator.add(quiet(i), start));
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const Sent noise{.source = ip("10.200.0.1"),
                     .destination = numbered(static_cast<unsigned>(random() % 0xffffff)),
                     .port = static_cast<std::uint16_t>(1 + random() % 65'535)};
    ASSERT_FALSE(aggregator.add(packet(noise, start), start)) << "nothing has to give way";
  }
  EXPECT_LE(aggregator.size(), 500U + 1025U);
  for (unsigned i = 0; i < 500; ++i) EXPECT_FALSE(aggregator.add(quiet(i), start));
  std::uint64_t noisy = 0;
  for (const auto& entry : aggregator.take_due(start + seconds(5))) {
    if (entry.key.source == ip("10.200.0.1")) {
      noisy += entry.count;
    } else {
      EXPECT_EQ(entry.count, 2U);
      EXPECT_FALSE(entry.scan);
    }
  }
  EXPECT_EQ(noisy, 100'000U);
}

TEST(Scan, AFloodFromForgedSourcesIsOfTheInterface) {
  Aggregator aggregator;
  for (unsigned i = 0; i < 20'000; ++i) {
    const Sent forged{.source = numbered(i),
                      .destination = numbered(i * 7),
                      .port = static_cast<std::uint16_t>(i + 1),
                      .why = Why::spoof};
    aggregator.add(packet(forged, start), start);
  }
  EXPECT_LE(aggregator.size(), 1025U);
  const auto given = aggregator.take_all();
  EXPECT_EQ(packets_in(given), 20'000U);
  const auto many = std::find_if(given.begin(), given.end(), [](const auto& e) { return e.scan.has_value(); });
  ASSERT_NE(many, given.end());
  EXPECT_EQ(many->key.interface, 3U);
  EXPECT_TRUE(many->scan->at_least);
  EXPECT_EQ(many->scan->ends, 4096U);
}

TEST(Scan, WhoAsksForCredentialsIsNotHiddenInTheCrowd) {
  Aggregator aggregator;
  for (unsigned i = 1; i <= 5000; ++i)
    aggregator.add(packet({.destination = numbered(i), .port = static_cast<std::uint16_t>(i)}, start), start);
  aggregator.add(packet({.destination = ip("169.254.169.254")}, start), start);
  const auto given = aggregator.take_all();
  EXPECT_TRUE(std::any_of(given.begin(), given.end(),
                          [](const auto& e) { return e.key.destination == ip("169.254.169.254") && e.count == 1; }));
}

TEST(Scan, WhenItIsOverFlowsHaveTheirOwnRecordsAgain) {
  Aggregator aggregator;
  for (std::uint16_t port = 1; port <= 200; ++port) aggregator.add(packet({.port = port}, start), start);
  for (int second = 1; second <= 40; ++second) aggregator.take_due(start + seconds(second));
  EXPECT_EQ(aggregator.size(), 0U);
  aggregator.add(packet({.port = 5000}, start + seconds(41)), start + seconds(41));
  EXPECT_EQ(aggregator.take_all().front().key.destination_port, net::Port{5000});
}

FlowRecord port_scan() {
  FlowRecord record;
  record.time = start;
  record.end = start + seconds(4);
  record.source = {EndpointType::pod, ip("10.0.1.5"), net::Port{40'000}, {"shop", "web", "u", "", "", "", ""}};
  record.destination = {EndpointType::pod, ip("10.0.2.9"), {}, {"db", "pg", "v", "", "", "", ""}};
  record.family = net::Family::ipv4;
  record.protocol = net::tcp;
  record.count = 900;
  record.scan = Scan{812, 0, false, {{1}, {2}, {3}}, {}};
  return record;
}

FlowRecord sweep() {
  FlowRecord record = port_scan();
  record.direction = net::Direction::egress;
  record.destination = {};
  record.destination.port = net::Port{22};
  record.scan = Scan{0, 40, true, {}, {ip("10.0.0.1"), ip("fd00::1")}};
  return record;
}

std::string json_of(const FlowRecord& record) {
  return RecordWriter("n1", "", "i").line(record, 1, record.end);
}
LoggedLine line_of(const FlowRecord& record) {
  return LineParser().parse(json_of(record)).value();
}

TEST(ScanRecord, IsWrittenAndReadBack) {
  EXPECT_NE(json_of(port_scan()).find(R"("scan":{"distinct_ports":812,"ports":[1,2,3]})"), std::string::npos)
      << json_of(port_scan());
  EXPECT_NE(json_of(sweep()).find(
                R"("scan":{"distinct_destinations":40,"destinations":["10.0.0.1","fd00::1"],"at_least":true})"),
            std::string::npos)
      << json_of(sweep());
  EXPECT_EQ(line_of(port_scan()).scan, port_scan().scan);
  EXPECT_EQ(line_of(sweep()).scan, sweep().scan);
}

TEST(ScanRecord, IsShownWhenWhatIsLookedForMayBeInIt) {
  Filter port;
  port.port.any.push_back(parse_port_filter("5432").value());
  EXPECT_TRUE(port.matches(line_of(port_scan())));
  EXPECT_FALSE(port.matches(line_of(sweep()))) << "all of it went to port 22";
  Filter to;
  to.to.any.push_back(parse_endpoint_filter("10.0.0.77").value());
  EXPECT_TRUE(to.matches(line_of(sweep())));
  EXPECT_FALSE(to.matches(line_of(port_scan())));
  Filter from;
  from.from.any.push_back(parse_endpoint_filter("other/").value());
  EXPECT_FALSE(from.matches(line_of(sweep()))) << "its source is known";
}

TEST(ScanRecord, ReadsWellInEveryFormat) {
  const auto text = [](const FlowRecord& record, Format format) {
    return formatted(format, line_of(record), json_of(record), any_width).value();
  };
  EXPECT_NE(text(port_scan(), Format::text).find("-> db/pg 10.0.2.9:(812 ports)/tcp x900"), std::string::npos)
      << text(port_scan(), Format::text);
  EXPECT_NE(text(sweep(), Format::text).find("-> (40+ addresses):22/tcp x900"), std::string::npos)
      << text(sweep(), Format::text);
  EXPECT_NE(text(port_scan(), Format::hubble).find("812 ports"), std::string::npos);
  EXPECT_NE(text(sweep(), Format::ecs).find(R"("scan":{"addresses":40,"at_least":true})"), std::string::npos)
      << text(sweep(), Format::ecs);
  EXPECT_EQ(text(port_scan(), Format::gke).find("dest_port"), std::string::npos);
}

TEST(ScanRecord, IsDetectedByWhatItStandsFor) {
  for (const auto& [record, name, evidence] :
       {std::tuple(port_scan(), "port_scan", "distinct_ports"), {sweep(), "sweep", "distinct_destinations"}}) {
    Detector detector({}, start);
    detector.take(record, 7, start + seconds(5));
    const auto found = detector.take_new();
    ASSERT_EQ(found.size(), 1U) << name;
    EXPECT_EQ(found[0].detection, name);
    EXPECT_EQ(found[0].evidence[0], std::pair(std::string(evidence), std::max(record.scan->ports, record.scan->ends)));
    EXPECT_EQ(found[0].samples.front(), 7U);
  }
}

TEST(ScanRecord, NamesThePodThatDeniedAndItsPolicies) {
  store::Cluster cluster;
  Enricher enricher(cluster, "n1");
  for (auto& event :
       podfence::test::events_of({podfence::test::pod("web").ns("shop").node("n1").ip("10.0.1.5").uid("u"),
                                  podfence::test::policy("closed").ns("shop").deny_egress()})) {
    cluster.apply(std::move(event));
  }
  enricher.after(start - seconds(9), start - seconds(9));
  Aggregator aggregator;
  for (unsigned i = 1; i <= 5000; ++i)
    aggregator.add(packet({.destination = numbered(i), .port = static_cast<std::uint16_t>(i)}, start), start);
  const auto given = aggregator.take_all();
  const auto many = std::find_if(given.begin(), given.end(), [](const auto& e) { return e.scan.has_value(); });
  ASSERT_NE(many, given.end());
  const FlowRecord record = enricher.describe(*many);
  EXPECT_EQ(record.source.k8s.pod, "web");
  ASSERT_EQ(record.policies.size(), 1U);
  EXPECT_EQ(record.policies[0].name, "closed");
  EXPECT_EQ(record.destination.ip, std::nullopt);
  EXPECT_EQ(record.destination.type, EndpointType::unknown);
}

}  // namespace
}  // namespace podfence::flow
