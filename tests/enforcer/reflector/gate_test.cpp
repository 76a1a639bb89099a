// What names pods waits for them, and nothing else does (kube.md 2.4: order).
#include "enforcer/reflector/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace podfence::reflector {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

Gate::Item item(const std::string& name, bool waits) {
  return {store::Remove{{api::Kind::pod, "shop", name}, ""}, waits};
}

struct GateTest : testing::Test {
  std::vector<std::string> pass(std::vector<Gate::Item> items, bool ready) {
    std::vector<std::string> names;
    for (const auto& event : gate.pass(std::move(items), ready, now)) names.push_back(store::key_of(event).name);
    return names;
  }
  Gate gate;
  Time now{1000h};
};

TEST_F(GateTest, everything_passes_when_all_is_known) {
  EXPECT_THAT(pass({item("a", true), item("b", false)}, true), ElementsAre("a", "b"));
  EXPECT_FALSE(gate.deadline());
}

TEST_F(GateTest, what_names_pods_waits_and_keeps_its_order) {
  EXPECT_THAT(pass({item("a", true), item("b", false)}, false), ElementsAre("b"));
  EXPECT_THAT(pass({item("c", true), item("a", false), item("d", false)}, false), ElementsAre("d"))
      << "a later event of the same object waits, too";
  EXPECT_EQ(gate.waiting(), 3U);
  EXPECT_THAT(pass({item("e", true)}, true), ElementsAre("a", "c", "a", "e"));
  EXPECT_THAT(pass({item("a", false)}, false), ElementsAre("a"));
}

TEST_F(GateTest, nothing_waits_for_ever) {
  EXPECT_THAT(pass({item("a", true)}, false), IsEmpty());
  ASSERT_EQ(gate.deadline(), now + 10s);
  now += 9s;
  EXPECT_THAT(pass({item("b", true)}, false), IsEmpty());
  now += 1s;
  EXPECT_THAT(pass({}, false), ElementsAre("a", "b"));
  EXPECT_THAT(pass({item("c", true)}, false), ElementsAre("c")) << "it has waited for what is still not known";
  EXPECT_THAT(pass({}, true), IsEmpty());
  EXPECT_THAT(pass({item("d", true)}, false), IsEmpty()) << "for what is missing now it waits anew";
}

}  // namespace
}  // namespace podfence::reflector
