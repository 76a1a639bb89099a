#include "enforcer/agent/policy_counters.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "enforcer/flow/policy_account_file.h"
#include "policy/program/rule.h"

namespace podfence::agent {
namespace {

constexpr const char* file_name = "policy-account.json";

std::optional<std::uint64_t> denied_of(const std::optional<flow::CounterPackets>& counters) {
  if (!counters) return std::nullopt;
  std::uint64_t denied = 0;
  for (const auto direction : {"denied_in", "denied_out"}) {
    if (const auto found = counters->find(direction); found != counters->end()) denied += found->second;
  }
  return denied;
}

}  // namespace

PolicyCounters::PolicyCounters(kernel::NftKernel& kernel, std::string state_dir)
    : kernel_(kernel), state_dir_(std::move(state_dir)), epoch_(std::string(program::table_name)) {
  auto state = flow::load_policy_account(state_dir_ + "/" + file_name);
  if (!state) spdlog::warn("event=policy_account_ignored error=\"{}\"", state.error().what());
  if (state && *state) account_ = flow::PolicyAccount(std::move(**state));
}

std::optional<flow::Tallies> PolicyCounters::read() {
  const auto counted = kernel_.tallies();
  if (!counted) return std::nullopt;
  flow::Tallies tallies;
  for (const auto& [key, counter] : *counted) tallies[key] = {counter.packets, counter.bytes};
  return tallies;
}

bool PolicyCounters::sample() {
  const auto tallies = read();
  if (!tallies) return false;
  if (account_.sample(*tallies, epoch_.read())) save();
  return true;
}

void PolicyCounters::after_commit(const compile::Compiler& compiler, flow::TimePoint now) {
  if (version_ == compiler.policy_sets_version()) return;
  if (!version_) {
    // What the account does not know was counted by nobody's account or by this one already.
    const auto tallies = read();
    if (!tallies) return;
    if (const auto unknown = account_.unknown(*tallies); !unknown.empty()) {
      if (const auto gone = kernel_.forget_tallies(unknown); !gone) {
        spdlog::warn("event=policy_counters_kept error=\"{}\"", gone.error().what());
      }
    }
  }
  version_ = compiler.policy_sets_version();
  if (account_.use(compiler.policy_sets(), now)) save();
}

void PolicyCounters::on_tick(const store::Cluster& cluster, const std::optional<flow::CounterPackets>& counters,
                             flow::TimePoint now) {
  if (account_.prune(cluster.policies(), now)) save();
  const auto denied = denied_of(counters);
  const bool moved = denied && denied != denied_;
  if (!moved && !account_.has_idle()) return;
  if (!sample()) return;
  denied_ = denied;
  const auto retired = account_.retire(now);
  if (retired.empty()) return;
  save();
  // A set of which no packet was denied has no counter there.
  const auto tallies = read();
  std::vector<program::TallyKey> present;
  for (const auto& key : retired) {
    if (tallies && tallies->count(key) != 0) present.push_back(key);
  }
  if (present.empty()) return;
  if (const auto gone = kernel_.forget_tallies(present); !gone) {
    spdlog::warn("event=policy_counters_kept error=\"{}\"", gone.error().what());
  }
}

flow::PolicyTraffic PolicyCounters::totals() {
  sample();
  return account_.totals();
}

void PolicyCounters::save() {
  const auto saved = flow::save_policy_account(state_dir_, file_name, account_.state());
  const std::string error = saved ? "" : saved.error().what();
  if (!error.empty() && error != error_) spdlog::warn("event=policy_account_not_saved error=\"{}\"", error);
  error_ = error;
}

}  // namespace podfence::agent
