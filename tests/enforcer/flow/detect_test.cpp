// What the detector makes of records, with a clock of the test's own.
#include "enforcer/flow/detect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "enforcer/flow/history.h"

namespace podfence::flow {
namespace {

using namespace std::literals;
using testing::ElementsAre;
using testing::IsEmpty;

const TimePoint start = parse_time("2026-11-23T12:00:00Z").value();

net::IpAddr host(std::uint32_t number) {
  return *net::IpAddr::parse("10.9." + std::to_string(number / 250) + "." + std::to_string(1 + number % 250));
}

/// Records of one pod, "shop/web-1" of Deployment web.
FlowRecord denied(const net::IpAddr& destination, std::uint16_t port, std::uint64_t count = 1) {
  FlowRecord record;
  record.direction = net::Direction::egress;
  record.source = {
      EndpointType::pod, host(1), net::Port{40000}, {"shop", "web-1", "uid-1", "Deployment", "web", "n1", ""}};
  record.destination = {EndpointType::world, destination, net::Port{port}, {}};
  record.protocol = net::tcp;
  record.count = count;
  return record;
}

class DetectorTest : public ::testing::Test {
 protected:
  void take(const FlowRecord& record) { detector.take(record, ++sequence, now); }
  /// "port_scan high distinct_ports=20 window_s=60"
  std::vector<std::string> found() {
    std::vector<std::string> all;
    for (const auto& d : detector.take_new()) {
      std::string text = d.detection + " " + std::string(name_of(d.severity));
      for (const auto& [name, value] : d.evidence) text += " " + name + "=" + std::to_string(value);
      all.push_back(text);
      last = d;
    }
    return all;
  }

  DetectionLimits limits;
  Detector detector{limits, start};
  TimePoint now = start;
  std::uint64_t sequence = 0;
  DetectionRecord last;
};

TEST_F(DetectorTest, AScanIsTwentyPortsInAMinute) {
  for (std::uint16_t port = 1; port <= 19; ++port) take(denied(host(2), port));
  for (int again = 0; again < 100; ++again) take(denied(host(2), 7));  // the same port is one
  EXPECT_THAT(found(), IsEmpty());
  take(denied(host(2), 20));
  EXPECT_THAT(found(), ElementsAre("port_scan high distinct_ports=20 window_s=60"));
  EXPECT_EQ(last.source->k8s.pod, "web-1");
  EXPECT_FALSE(last.source->port);
  EXPECT_EQ(last.destination->ip, host(2));
  EXPECT_THAT(last.samples, testing::SizeIs(5));
  EXPECT_EQ(last.samples.front(), sequence);
}

TEST_F(DetectorTest, PortsOfManyDestinationsOrOverALongTimeAreNoScan) {
  for (std::uint16_t port = 1; port <= 200; ++port) take(denied(host(port), port));
  EXPECT_THAT(found(), IsEmpty());
  for (std::uint16_t port = 1; port <= 200; ++port) {
    now += 12s;  // 45 in nine minutes
    take(denied(host(300), port));
  }
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(DetectorTest, ASlowScanIsFiftyPortsInNineMinutes) {
  for (std::uint16_t port = 1; port <= 50; ++port) {
    EXPECT_THAT(found(), IsEmpty()) << port;
    now += 10s;
    take(denied(host(2), port));
  }
  EXPECT_THAT(found(), ElementsAre("port_scan high distinct_ports=50 window_s=540"));
}

TEST_F(DetectorTest, ASweepIsThirtyHostsOnOnePort) {
  for (std::uint32_t i = 1; i <= 29; ++i) take(denied(host(i), 22));
  for (std::uint32_t i = 1; i <= 29; ++i) take(denied(host(i), 23));  // of each port by itself
  EXPECT_THAT(found(), IsEmpty());
  take(denied(host(30), 22));
  EXPECT_THAT(found(), ElementsAre("sweep high distinct_destinations=30 port=22 window_s=60"));
}

TEST_F(DetectorTest, IsSilentForTenMinutesForTheSameSource) {
  const auto scan = [&](const std::string& uid) {
    for (std::uint16_t port = 1; port <= 25; ++port) {
      auto record = denied(host(2), port);
      record.source.k8s.pod_uid = uid;
      take(record);
    }
    return found().size();
  };
  EXPECT_EQ(scan("uid-1"), 1U);
  EXPECT_EQ(scan("uid-1"), 0U);
  EXPECT_EQ(scan("uid-2"), 1U) << "another source";
  now += 599s;
  EXPECT_EQ(scan("uid-1"), 0U);
  now += 1s;
  EXPECT_EQ(scan("uid-1"), 1U);
}

TEST_F(DetectorTest, MetadataServicesAreAskedByPodsOnly) {
  for (const char* address : {"169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "168.63.129.16"}) {
    take(denied(*net::IpAddr::parse(address), 80, 3));
    EXPECT_THAT(found(), ElementsAre("metadata_access high packets=3")) << address;
    now += 600s;
  }
  take(denied(*net::IpAddr::parse("169.254.169.253"), 80));
  auto other = denied(*net::IpAddr::parse("169.254.169.254"), 80);
  other.source.type = EndpointType::world;
  take(other);
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(DetectorTest, ASpoofedSourceIsThePodsOrTheInterfaces) {
  auto record = denied(host(2), 80);
  record.reason = Reason::spoofed_source;
  take(record);
  EXPECT_THAT(found(), ElementsAre("spoofed_source high packets=1"));
  for (std::uint16_t port = 1; port <= 100; ++port) {  // forged addresses are no sources
    record.source = {EndpointType::unknown, host(port), net::Port{1}, {}};
    record.destination.port = net::Port{port};
    record.interface = "veth7";
    take(record);
  }
  EXPECT_THAT(found(), ElementsAre("spoofed_source high packets=1"));
}

TEST_F(DetectorTest, ASpikeIsTenTimesTheUsual) {
  for (int bucket = 0; bucket < 14; ++bucket) {  // 20 in five minutes, for seventy minutes
    take(denied(host(2), 80, 20));
    now += 300s;
  }
  take(denied(host(2), 80, 100));
  EXPECT_THAT(found(), IsEmpty()) << "not ten times the usual";
  take(denied(host(2), 80, 101));
  const auto spikes = found();
  ASSERT_EQ(spikes.size(), 1U);
  EXPECT_TRUE(spikes[0].starts_with("denied_spike medium packets=201 usual=1")) << spikes[0];
}

TEST_F(DetectorTest, ThereIsNoSpikeBeforeAnHourWasSeen) {
  take(denied(host(2), 80, 1'000'000));
  now += 3599s;
  take(denied(host(2), 80, 1'000'000));
  EXPECT_THAT(found(), IsEmpty());
  now += 7200s;
  take(denied(host(2), 80, 100));
  EXPECT_THAT(found(), IsEmpty()) << "a hundred is not many";
}

TEST_F(DetectorTest, LossesAreMoreThanOneInAHundred) {
  detector.account(1000, 0, now);
  detector.account(10'000, 5000, now + 299s);
  EXPECT_THAT(found(), IsEmpty()) << "after five minutes";
  detector.account(11'000, 100, now + 300s);
  EXPECT_THAT(found(), IsEmpty()) << "a count that went back begins anew";
  detector.account(21'000, 200, now + 600s);
  EXPECT_THAT(found(), IsEmpty()) << "one in a hundred";
  detector.account(31'000, 301, now + 900s);
  EXPECT_THAT(found(), ElementsAre("log_loss medium lost=101 denied=10000 window_s=300"));
}

TEST_F(DetectorTest, TamperingIsCritical) {
  detector.tampered("table inet podfence was changed", "nft (pid 7)", now);
  detector.tampered("table inet podfence was changed", "nft (pid 8)", now);
  EXPECT_THAT(found(), ElementsAre("agent_tamper critical"));
  EXPECT_EQ(last.by, "nft (pid 7)");
}

// A flood from ever new addresses costs bounded memory, and what goes on is found all the same.
TEST_F(DetectorTest, ForgetsWhoWasQuietForLongest) {
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    auto record = denied(host(2), 80);
    record.source = {EndpointType::world, host(3 + i), net::Port{1}, {}};
    take(record);
    if (i % 500 == 0) take(denied(host(2), static_cast<std::uint16_t>(1 + i / 500)));
  }
  EXPECT_THAT(found(), ElementsAre("port_scan high distinct_ports=20 window_s=60"));
}

TEST(DetectionRecord, IsOneLineWhateverItNames) {
  DetectionRecord record{.time = start, .detection = "port_scan", .severity = Severity::high};
  record.source = Endpoint{EndpointType::pod, host(1), {}, {"shop", "a\n\x1b[31m\xff", "u", "", "", "", ""}};
  record.evidence = {{"distinct_ports", 57}, {"window_s", 60}};
  record.samples = {8701};
  const auto line = RecordWriter("node-a", "prod-1", "7f3c").line(record, 8815);
  EXPECT_EQ(line, R"({"schema":"podfence.flow/v1","type":"detection","id":"node-a:7f3c:8815","seq":8815,)"
                  R"("time":"2026-11-23T12:00:00.000000Z","cluster":"prod-1","node":"node-a","detection":"port_scan",)"
                  R"("severity":"high","source":{"type":"pod","ip":"10.9.0.2","k8s":{"namespace":"shop",)"
                  "\"pod\":\"a\\n\\u001b[31m\\ufffd\",\"pod_uid\":\"u\"}},"
                  R"("evidence":{"distinct_ports":57,"window_s":60},"sample_ids":["node-a:7f3c:8701"]})"
                  "\n");
}

}  // namespace
}  // namespace podfence::flow
