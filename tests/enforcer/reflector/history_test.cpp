// Row W12 over random histories: duplicates, wrong names of events, late ends, lists in between, cuts. The store is
// then what the last word on every pod says.
#include <cstdlib>
#include <map>
#include <random>

#include "tests/enforcer/reflector/script.h"

namespace podfence::test {
namespace {

class History {
 public:
  explicit History(unsigned seed) : generator_(seed) { script_.sync({}, "100"); }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) step();
    compare();
  }

 private:
  int draw(int below) { return std::uniform_int_distribution<int>(0, below - 1)(generator_); }

  void step() {
    if (!script_.asks_watch()) return recover();
    const auto name = "p" + std::to_string(draw(6));
    const auto at = world_.find(name);
    const int what = draw(10);
    if (what < 5) {
      change(name);
    } else if (what == 5 && at != world_.end()) {
      auto gone = at->second;
      gone.revision = std::to_string(++revision_);
      world_.erase(at);
      script_.bytes(event("DELETED", gone));
    } else if (what == 6) {
      script_.bytes(event("DELETED", {name, std::to_string(++revision_), "x", "somebody-else"}));
    } else if (what == 7 && at != world_.end()) {
      script_.bytes(event(draw(2) == 0 ? "ADDED" : "MODIFIED", at->second));  // again
    } else if (what == 8) {
      script_.pass(2s);
      script_.end(draw(2) == 0);
      script_.head(200);
    } else if (what == 9) {
      script_.bytes(draw(2) == 0 ? bookmark(std::to_string(++revision_)) : error(410, "Expired"));
    }
  }

  void change(const std::string& name) {
    auto [at, added] = world_.try_emplace(name);
    if (added) at->second.uid = name + "-" + std::to_string(draw(1000));
    at->second.name = name;
    at->second.revision = std::to_string(++revision_);
    at->second.label = std::to_string(draw(3));
    script_.bytes(event(draw(2) == 0 ? "ADDED" : "MODIFIED", at->second));
  }

  /// A list, perhaps a broken one first, with changes that no event told of.
  void recover() {
    if (!script_.open) script_.pass_until_asked();
    if (draw(2) == 0) world_.erase("p" + std::to_string(draw(6)));
    std::vector<PodText> items;
    for (const auto& [name, pod] : world_) items.insert(items.begin() + draw(static_cast<int>(items.size()) + 1), pod);
    const auto body = list_of(items, std::to_string(++revision_));
    if (script_.asks_watch_list()) return script_.refuse_watch_list();
    script_.head(200);
    if (draw(3) == 0) {
      script_.bytes(body.substr(0, static_cast<std::size_t>(draw(static_cast<int>(body.size()) - 2))));
      return script_.end(draw(2) == 0);
    }
    script_.bytes(body);
    script_.end();
    compare();
    script_.head(200);
  }

  void compare() {
    if (!script_.asks_watch()) return;
    std::string names;
    for (const auto& [name, pod] : world_) names += (names.empty() ? "" : " ") + name;
    EXPECT_EQ(script_.names(), names);
    for (const auto& [name, pod] : world_) {
      EXPECT_EQ(script_.label(name), pod.label) << name;
      const auto* held = script_.cluster.find_pod("shop", name);
      EXPECT_TRUE(held == nullptr || held->meta.uid == pod.uid) << name;
    }
    EXPECT_EQ(script_.machine.objects(), world_.size());
  }

  Script script_;
  std::map<std::string, PodText> world_;
  long revision_ = 1000;
  std::mt19937 generator_;
};

TEST(Watch, W12_any_history_ends_in_what_was_said_last) {
  const char* given = std::getenv("PODFENCE_SEED");
  const unsigned first = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  for (unsigned seed = first; seed < first + 300; ++seed) {
    History(seed).run(120);
    if (HasFailure()) {
      ADD_FAILURE() << "PODFENCE_SEED=" << seed;
      return;
    }
  }
  std::printf("  seeds %u to %u\n", first, first + 299);
}

}  // namespace
}  // namespace podfence::test
