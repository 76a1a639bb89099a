// Records as OTLP, addresses, headers, gzip.
#include "enforcer/sink/otlp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "enforcer/sink/gzip.h"

namespace podfence::sink {
namespace {

TEST(OtlpUrl, HasDefaults) {
  const auto plain = parse_otlp_url("http://collector");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->host + " " + plain->port + " " + plain->path, "collector 4318 /v1/logs");
  const auto whole = parse_otlp_url("https://[::1]:443/otlp/v1/logs?x=1");
  ASSERT_TRUE(whole);
  EXPECT_TRUE(whole->tls);
  EXPECT_EQ(whole->host + " " + whole->port + " " + whole->path, "::1 443 /otlp/v1/logs?x=1");
}

TEST(OtlpUrl, IsRefusedByName) {
  for (const char* text :
       {"", "collector", "ftp://a", "http://", "http:///v1", "http://a:0", "http://a:65536", "http://a:x",
        "http://user:secret@a", "http://[::1", "http://::1]", "http://a b", "http://a\n"}) {
    const auto url = parse_otlp_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().what().find("otlp '" + std::string(text) + "': expected http://"), 0U);
  }
}

TEST(OtlpHeaders, AreLinesOfAFile) {
  const auto file = std::filesystem::temp_directory_path() / ("podfence-headers-" + std::to_string(::getpid()));
  const auto read = [&](const std::string& text) {
    std::ofstream(file) << text;
    return read_headers(file.string());
  };
  const auto good = read("# comment\n\nAuthorization: Bearer a:b\r\nX-Scope: 1");
  ASSERT_TRUE(good) << good.error().what();
  EXPECT_THAT(*good, testing::ElementsAre(testing::Pair("Authorization", "Bearer a:b"), testing::Pair("X-Scope", "1")));
  for (const char* bad : {"nothing\n", "a b: c\n", ": c\n", "A:\n", "A: \x01\n", "ok: 1\n\xc3\xa9: 2\n"}) {
    const auto refused = read(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_NE(refused.error().what().find(file.string() + ": line "), std::string::npos) << refused.error().what();
  }
  std::filesystem::remove(file);
  EXPECT_FALSE(read_headers(file.string()));
}

/// CRC and length at its end are checked by every reader; here gzip(1) reads it.
TEST(Gzip, IsReadByGzip) {
  std::mt19937 random(20261124);
  std::string noise(200'000, ' ');
  for (auto& c : noise) c = static_cast<char>(random());
  const auto base = std::filesystem::temp_directory_path() / ("podfence-gzip-" + std::to_string(::getpid()));
  for (const auto& text : {std::string(), std::string("a"), std::string(3'000'000, 'x'), noise}) {
    std::ofstream(base.string() + ".gz", std::ios::binary) << gzip(text);
    ASSERT_EQ(std::system(("gzip -dc " + base.string() + ".gz > " + base.string()).c_str()), 0);
    std::ifstream in(base, std::ios::binary);
    const std::string back((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    EXPECT_TRUE(back == text) << text.size();
  }
  EXPECT_LT(gzip(std::string(3'000'000, 'x')).size(), 10'000U);
  std::filesystem::remove(base);
  std::filesystem::remove(base.string() + ".gz");
}

TEST(OtlpJson, MapsEveryTypeAndLeavesOutWhatIsNotOurs) {
  OtlpSettings settings;
  settings.node = "node-a";
  settings.version = "1.2.3";
  const std::vector<std::string> lines{
      R"({"schema":"podfence.flow/v1","type":"loss","id":"n:a:2","seq":2,"time":"2026-11-23T17:30:00Z","end":"2026-11-23T17:30:05Z","stage":"kernel_limit","lost":18446744073709551615,"exact":true})",
      R"({"schema":"podfence.flow/v1","type":"detection","id":"n:a:3","seq":3,"time":"2026-11-23T17:30:00Z","detection":"port_scan","severity":"high","evidence":{}})",
      R"({"schema":"other","type":"flow"})",
      "no json",
      "",
      R"({"schema":"podfence.flow/v1","type":"agent","id":"n:a:4","seq":4,"time":"2026-11-23T17:30:00Z","event":"start"})"};
  const auto text = otlp_json(settings, lines);
  simdjson::dom::parser parser;
  const simdjson::dom::element root = parser.parse(text);
  const simdjson::dom::array records = root.at_pointer("/resourceLogs/0/scopeLogs/0/logRecords").get_array();
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(std::string_view(records.at(0)["eventName"]), "network.policy.loss");
  EXPECT_EQ(std::string_view(records.at(0)["timeUnixNano"]), "1795455000000000000");
  EXPECT_NE(text.find(R"({"intValue":"18446744073709551615"})"), std::string::npos) << "numbers of 64 bits are texts";
  EXPECT_EQ(std::int64_t(records.at(1)["severityNumber"]), 17);
  EXPECT_EQ(std::int64_t(records.at(2)["severityNumber"]), 9);
  EXPECT_EQ(std::string_view(records.at(0)["body"]["stringValue"]), lines[0]);
}

// Whatever names a line holds, what is sent parses and holds no control characters.
TEST(OtlpJson, SurvivesHostileLines) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  OtlpSettings settings;
  settings.node = "node\x01\xff\"";
  for (int round = 0; round < 2000; ++round) {
    std::string name;
    for (auto i = random() % 40; i > 0; --i) name += static_cast<char>(random());
    std::string line = R"({"schema":"podfence.flow/v1","type":"flow","direction":"ingress","id":")" + name +
                       R"(","source":{"type":"pod","k8s":{"pod":")" + name + R"("}},"policies":[{"name":")" + name +
                       R"("}]})";
    const auto text = otlp_json(settings, {line, name});
    simdjson::dom::parser parser;
    ASSERT_EQ(parser.parse(text).error(), simdjson::SUCCESS) << "seed " << seed << ": " << text;
    for (const char c : text) ASSERT_GE(static_cast<unsigned char>(c), 0x20U) << "seed " << seed;
  }
}

}  // namespace
}  // namespace podfence::sink
