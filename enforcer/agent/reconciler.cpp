#include "enforcer/agent/reconciler.h"

#include <algorithm>

#include "policy/diff/diff.h"

namespace podfence::agent {
namespace {

using program::Shape;

/// The kernel names one refused element at a time; past so many in one commit something else is wrong.
constexpr std::size_t most_withheld_at_once = 1024;

/// Leaving out such an element admits less, never more.
bool only_closes(Shape shape) {
  return shape != Shape::isolated && shape != Shape::managed;
}

bool erase(std::vector<program::Element>& elements, const program::Element& element) {
  const auto at = std::lower_bound(elements.begin(), elements.end(), element);
  if (at == elements.end() || *at != element) return false;
  elements.erase(at);
  return true;
}

}  // namespace

bool may_cut_flows(const diff::Changes& changes) {
  if (changes.install) return true;
  return std::any_of(changes.sets.begin(), changes.sets.end(), [](const auto& entry) {
    const auto& [set, change] = entry;
    const bool closes_by_adding = set.shape == Shape::isolated || set.shape == Shape::managed;
    return closes_by_adding ? !change.added.empty() : !change.removed.empty();
  });
}

Reconciler::Reconciler(compile::Settings settings, kernel::Kernel& kernel)
    : compiler_(std::move(settings)), kernel_(kernel) {}

void Reconciler::take(std::span<const store::Event> events) {
  auto changes = compiler_.apply(events);
  if (started_) pending_ = diff::merge(pending_, changes);
}

Outcome Reconciler::start() {
  auto outcome = write_difference(true);
  started_ = started_ || outcome.kind != Outcome::Kind::retry;
  return outcome;
}

Outcome Reconciler::reconcile() {
  if (!started_) return start();
  if (pending_.empty()) return {};
  auto changes = pending_;
  without_withheld(changes);
  if (auto done = kernel_.commit(changes)) {
    Outcome outcome{.kind = Outcome::Kind::committed, .operations = changes.operations(), .error = {}};
    outcome.may_cut_flows = may_cut_flows(changes);
    pending_ = {};
    return outcome;
  } else if (done.error().error.code() == Errc::busy) {
    return {.kind = Outcome::Kind::retry, .error = done.error().error.what()};
  }
  // The kernel is not what we took it for, or it refuses an element: from what it really holds, as at start.
  auto outcome = write_difference(false);
  outcome.may_cut_flows = outcome.may_cut_flows || may_cut_flows(changes);
  return outcome;
}

Outcome Reconciler::verify() {
  if (!started_) return {};
  const bool had_pending = !pending_.empty();
  auto outcome = write_difference(false);
  if (!had_pending) outcome.repaired = outcome.operations + (outcome.installed ? 1 : 0);
  return outcome;
}

Outcome Reconciler::write_difference(bool adopt) {
  const auto held = kernel_.read();
  if (!held) return {.kind = Outcome::Kind::retry, .error = held.error().what()};
  const auto& options = compiler_.settings().options;
  const bool usable = held->present && held->intact && held->program.options == options;
  if (adopt && held->present) compiler_.adopt_classes(held->program);
  withheld_.clear();  // whatever was refused before gets another try
  const auto wanted = compiler_.program();
  auto changes = usable ? diff::changes_between(held->program, wanted) : diff::install_of(wanted);
  return commit(std::move(changes));
}

Outcome Reconciler::commit(diff::Changes changes) {
  if (changes.empty()) {
    pending_ = {};
    return {};
  }
  for (std::size_t refused = 0; refused <= most_withheld_at_once; ++refused) {
    auto done = kernel_.commit(changes);
    if (done) {
      pending_ = {};
      return {.kind = Outcome::Kind::committed,
              .operations = changes.operations(),
              .installed = changes.install,
              .may_cut_flows = may_cut_flows(changes),
              .error = {}};
    }
    if (done.error().error.code() == Errc::busy || !withhold(changes, done.error())) {
      return {.kind = Outcome::Kind::retry, .error = done.error().error.what()};
    }
  }
  return {.kind = Outcome::Kind::retry, .error = "the kernel refuses more elements than can be withheld"};
}

bool Reconciler::withhold(diff::Changes& changes, const kernel::Refusal& refusal) {
  if (!refusal.set || !refusal.element || !only_closes(refusal.set->shape)) return false;
  const auto change = changes.sets.find(*refusal.set);
  if (change == changes.sets.end() || !erase(change->second.added, *refusal.element)) return false;
  if (change->second.empty()) changes.sets.erase(change);
  withheld_.push_back({*refusal.set, *refusal.element, refusal.error.what()});
  return true;
}

/// What was withheld is not in the kernel: it can neither be removed there nor come back by itself.
void Reconciler::without_withheld(diff::Changes& changes) {
  const auto forgotten = [&](const Withheld& w) {
    const auto change = changes.sets.find(w.set);
    if (change == changes.sets.end() || !erase(change->second.removed, w.element)) return false;
    if (change->second.empty()) changes.sets.erase(change);
    return true;
  };
  withheld_.erase(std::remove_if(withheld_.begin(), withheld_.end(), forgotten), withheld_.end());
}

}  // namespace podfence::agent
