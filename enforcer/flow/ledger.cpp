#include "enforcer/flow/ledger.h"

#include <algorithm>
#include <utility>

namespace podfence::flow {
namespace {

/// over_source, over_node: dropped without a message, and counted as dropped besides.
bool is_limit(std::string_view counter) {
  return counter.substr(0, 5) == "over_";
}

/// Counters of the guards on the pods' interfaces: they do not start anew with the table.
bool is_elsewhere(std::string_view counter) {
  return counter.find("spoof") != std::string_view::npos;
}

std::uint64_t above(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : 0;
}

}  // namespace

Ledger::Ledger(std::map<std::string, CounterTotal> counters, std::string epoch, Accounted accounted)
    : counters_(std::move(counters)),
      epoch_(std::move(epoch)),
      accounted_(accounted),
      accounted_before_(accounted.logged) {
  for (const auto& [name, counter] : counters_) (is_limit(name) ? limits_ : drops_) += counter.total;
}

void Ledger::received(bool ours, std::uint32_t gap) {
  new_gap_ += gap - std::min<std::uint64_t>(gap, tail_credit_);
  tail_credit_ = 0;
  if (ours) ++accounted_.logged;
}

void Ledger::sample(const CounterSample& sample, TimePoint now) {
  const bool other_table = !sample.epoch.empty() && !epoch_.empty() && sample.epoch != epoch_;
  if (!sample.epoch.empty()) epoch_ = sample.epoch;
  earlier_limits_ = limits_;
  drops_ = limits_ = 0;
  if (other_table) {
    for (auto& [name, counter] : counters_) {
      if (!is_elsewhere(name)) counter.last = 0;
    }
  }
  for (const auto& [name, packets] : sample.packets) {
    CounterTotal& counter = counters_[name];
    counter.total += packets >= counter.last ? packets - counter.last : packets;
    counter.last = packets;
  }
  for (const auto& [name, counter] : counters_) (is_limit(name) ? limits_ : drops_) += counter.total;
  if (std::exchange(adopt_, false)) {
    // Messages of this moment may be received and not adopted, or the other way round: few, and only once.
    accounted_ = {above(drops_, limits_), limits_};
    earlier_limits_ = limits_;
    waiting_.reset();
    accounted_before_ = accounted_.logged;
    new_gap_ = 0;
  }
  // More received than was ever counted: it was counted in a table that was replaced before we read it again.
  const std::uint64_t most = above(drops_, earlier_limits_);
  accounted_.logged -= std::min(accounted_.logged, above(accounted_before_, most));
  due_gap_ = std::exchange(new_gap_, 0);
  if (waiting_ && waiting_->time > now) waiting_.reset();
  if (!waiting_) waiting_ = Waiting{drops_, now};
}

std::vector<Loss> Ledger::settle(TimePoint now, bool drained) {
  std::vector<Loss> losses;
  const auto state = [&](std::string_view stage, std::uint64_t lost, std::uint64_t& account) {
    if (lost == 0) return;
    account += lost;
    losses.push_back({stage, lost});
  };
  state(stage_limit, above(limits_, accounted_.limited), accounted_.limited);
  // A gap may hold messages of foreign rules: never state more than the counters have.
  const std::uint64_t room = above(above(drops_, earlier_limits_), accounted_.logged);
  state(stage_gap, std::min(due_gap_, room), accounted_.logged);
  due_gap_ = 0;
  if (waiting_ && drained && now - waiting_->time >= settle_time) {
    // All that was counted then and is not here now will not come any more.
    const std::uint64_t tail = above(above(waiting_->drops, limits_), accounted_.logged + new_gap_);
    state(stage_tail, tail, accounted_.logged);
    tail_credit_ += tail;
    waiting_ = Waiting{drops_, now};
  }
  accounted_before_ = accounted_.logged;
  return losses;
}

}  // namespace podfence::flow
