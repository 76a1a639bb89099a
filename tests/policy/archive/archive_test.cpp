// A world as bytes and back; bytes that are no world are an error and nothing worse (B3, L11: what a start relies on).
#include "policy/archive/archive.h"

#include <gtest/gtest.h>

#include "policy/archive/crc32c.h"
#include "tests/support/builders.h"
#include "tests/support/random_objects.h"
#include "tests/support/random_world.h"

namespace podfence::archive {
namespace {

using Objects = std::vector<api::Object>;

Origin some_origin() {
  return {"node-1", "an-uid", "https://10.0.0.1:443", "a-boot", 1234567890, {"NetworkPolicy shop/allow-web"}};
}

std::string bytes_of(const Objects& objects, const Origin& origin = some_origin()) {
  Encoder encoder;
  for (const auto& object : objects) encoder.add(object);
  return std::move(encoder).finish(origin).all;
}

struct Read {
  Result<Origin> origin;
  Objects objects;
};

Read read(std::string_view bytes) {
  Read read{fail(Errc::invalid, ""), {}};
  read.origin = decode(bytes, [&](api::Object object) { read.objects.push_back(std::move(object)); });
  return read;
}

std::string error_of(std::string_view bytes) {
  const auto result = read(bytes);
  return result.origin ? "" : result.origin.error().what();
}

/// As random_world makes them, and with the fields that it leaves alone.
Objects random_objects(std::mt19937_64& random) {
  test::RandomObjects make(random);
  auto objects = test::random_world(random).objects;
  for (auto& object : objects) {
    if (make.chance(30)) {
      std::visit([&](auto& o) { o.meta.generation = static_cast<std::int64_t>(random()); }, object);
      std::visit([&](auto& o) { o.meta.created = static_cast<std::int64_t>(random()); }, object);
    }
    auto* pod = std::get_if<api::Pod>(&object);
    if (pod == nullptr || make.chance(50)) continue;
    pod->workload_kind = make.chance(50) ? "Deployment" : "StatefulSet";
    pod->workload = std::string(make.upto(300), 'w');
  }
  return objects;
}

TEST(Archive, WhatComesBackIsWhatWentIn) {
  const auto seed = test::seed_of_run();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (std::size_t i = test::count_from_env("PODFENCE_WORLDS", 2000); i > 0; --i) {
    const auto objects = random_objects(random);
    const auto result = read(bytes_of(objects));
    ASSERT_TRUE(result.origin) << result.origin.error().what();
    ASSERT_EQ(*result.origin, some_origin());
    ASSERT_EQ(result.objects, objects);
  }
}

TEST(Archive, EmptyAndLastThings) {
  EXPECT_EQ(read(bytes_of({})).objects, Objects{});
  EXPECT_EQ(*read(bytes_of({}, {})).origin, Origin{});
  // The last field of the last object: ports that end.
  const Objects objects{test::pod("a").port("http", 80), test::pod("b")};
  EXPECT_EQ(read(bytes_of(objects)).objects, objects);
  EXPECT_EQ(decode_head(bytes_of(objects))->origin, some_origin());
}

TEST(Archive, SameObjectsSameContent) {
  const auto content = [](const Objects& objects, const Origin& origin) {
    Encoder encoder(1 << 20U);
    for (const auto& object : objects) encoder.add(object);
    const auto bytes = std::move(encoder).finish(origin);
    EXPECT_EQ(decode_head(bytes.all)->content, bytes.content);
    return bytes.content;
  };
  const Objects objects{test::ns("shop"), test::pod("a").ip("10.0.0.1")};
  EXPECT_EQ(content(objects, some_origin()), content(objects, {}));
  EXPECT_NE(content(objects, {}), content({test::ns("shop"), test::pod("a").ip("10.0.0.2")}, {}));
}

TEST(Archive, ReplicasShareWhatTheyHaveInCommon) {
  const auto replica = [](const char* name) {
    return test::pod(name).ns("shop").label("app", "web").port("http", 80).workload("Deployment", "web");
  };
  const auto result = read(bytes_of({replica("a"), replica("b")}));
  const auto& a = std::get<api::Pod>(result.objects.at(0));
  const auto& b = std::get<api::Pod>(result.objects.at(1));
  EXPECT_TRUE(a.meta.labels.shares_with(b.meta.labels));
  EXPECT_TRUE(a.named_ports.shares_with(b.named_ports));
  EXPECT_TRUE(a.meta.namespace_.shares_with(b.meta.namespace_));
  EXPECT_TRUE(a.workload.shares_with(b.workload));
}

Objects some_objects() {
  return {test::ns("shop").label("team", "a"), test::node("n1").ip("192.0.2.1").pod_cidr("fd00::/64"),
          test::pod("web").ns("shop").label("app", "web").ip("10.0.0.1").ip("fd00::1").port("http", 80),
          test::policy("np")
              .ns("shop")
              .selects({{"app", "web"}})
              .ingress(test::rule().block("10.0.0.0/8", {"10.1.0.0/16"}).named_port("http").no_port("wrong"))};
}

TEST(Archive, EveryTruncationIsAnError) {
  const auto bytes = bytes_of(some_objects());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_NE(error_of(std::string_view(bytes).substr(0, size)), "") << size << " of " << bytes.size();
  }
  EXPECT_NE(error_of(bytes + "x"), "");
}

TEST(Archive, EveryFlippedBitIsAnError) {
  auto bytes = bytes_of(some_objects());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto flip = [&] { bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8))); };
    flip();
    ASSERT_NE(error_of(bytes), "") << "bit " << bit;
    flip();
  }
  EXPECT_EQ(error_of(bytes), "");
}

TEST(Archive, AnotherFormatIsNamed) {
  auto bytes = bytes_of(some_objects());
  bytes[8] = 2;
  EXPECT_NE(error_of(bytes).find("has format 2"), std::string::npos) << error_of(bytes);
}

TEST(Archive, GarbageIsAnError) {
  EXPECT_NE(error_of("").find("is no checkpoint"), std::string::npos);
  EXPECT_NE(error_of("{\"kind\":\"List\"}").find("is no checkpoint"), std::string::npos);
  EXPECT_NE(error_of("PFWORLD\n").find("cut short"), std::string::npos);
  EXPECT_NE(error_of(std::string(1000, '\0')).find("is no checkpoint"), std::string::npos);
  EXPECT_NE(error_of("PFWORLD\n" + std::string(1000, '\xff')).find("has format"), std::string::npos);
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
}

}  // namespace
}  // namespace podfence::archive
