#include "enforcer/agent/reconciler.h"

#include <algorithm>

#include "policy/diff/diff.h"

namespace podfence::agent {
namespace {

using program::Shape;

/// The kernel names one refused element at a time; past so many in one commit something else is wrong.
constexpr std::size_t most_withheld_at_once = 1024;

/// Leaving out such an element admits no more.
bool only_closes(Shape shape) {
  return shape != Shape::isolated && shape != Shape::managed;
}

bool erase(std::vector<program::Element>& elements, const program::Element& element) {
  const auto at = std::lower_bound(elements.begin(), elements.end(), element);
  if (at == elements.end() || *at != element) return false;
  elements.erase(at);
  return true;
}

bool contains(const std::vector<program::Element>& elements, const program::Element& element) {
  return std::binary_search(elements.begin(), elements.end(), element);
}

/// How many of `elements` are not in `others`.
std::size_t count_missing(const std::vector<program::Element>& elements, const std::vector<program::Element>& others) {
  const auto missing = [&](const program::Element& e) { return !contains(others, e); };
  return static_cast<std::size_t>(std::count_if(elements.begin(), elements.end(), missing));
}

/// What was withheld is not in the kernel: it can neither be removed there nor come back by itself.
void without_withheld(diff::Changes& changes, std::vector<Withheld>& withheld) {
  const auto forgotten = [&](const Withheld& w) {
    const auto change = changes.sets.find(w.set);
    if (change == changes.sets.end() || !erase(change->second.removed, w.element)) return false;
    if (change->second.empty()) changes.sets.erase(change);
    return true;
  };
  withheld.erase(std::remove_if(withheld.begin(), withheld.end(), forgotten), withheld.end());
}

/// Whether a commit that failed so may have been carried out all the same: the answer was lost, not the commit.
bool may_be_carried_out(const Error& error) {
  return error.code() == Errc::io || error.code() == Errc::unavailable;
}

}  // namespace

bool may_cut_flows(const diff::Changes& changes) {
  if (changes.install) return true;
  return std::any_of(changes.sets.begin(), changes.sets.end(), [](const auto& entry) {
    const auto& [set, change] = entry;
    if (set.shape == Shape::policies) return false;  // it only counts
    const bool closes_by_adding = set.shape == Shape::isolated || set.shape == Shape::managed;
    return closes_by_adding ? !change.added.empty() : !change.removed.empty();
  });
}

Reconciler::Reconciler(compile::Settings settings, kernel::Kernel& kernel)
    : compiler_(std::move(settings)), kernel_(kernel) {}

void Reconciler::take(std::vector<store::Event> events) {
  auto changes = compiler_.apply(std::move(events));
  if (started_) pending_ = diff::merge(pending_, changes);
}

void Reconciler::attach(std::span<const net::IpAddr> addresses) {
  auto changes = compiler_.attach(addresses);
  if (started_) pending_ = diff::merge(pending_, changes);
}

Outcome Reconciler::start() {
  auto outcome = write_difference(true);
  started_ = started_ || outcome.kind != Outcome::Kind::retry;
  return outcome;
}

Outcome Reconciler::reconcile() {
  if (!started_) return start();
  if (doubtful_) return write_difference(false);
  if (pending_.empty()) return {};
  auto changes = pending_;
  auto withheld = withheld_;
  without_withheld(changes, withheld);
  if (!changes.empty()) {
    cuts_flows_ = cuts_flows_ || may_cut_flows(changes);
    if (const auto committed = kernel_.commit(changes); !committed) {
      if (committed.error().error.code() == Errc::busy) return failed(committed.error().error);
      // The kernel is not what we took it for, or it refuses an element: from what it really holds, as at start.
      unanswered_ = may_be_carried_out(committed.error().error);
      return write_difference(false);
    }
  }
  withheld_ = std::move(withheld);
  return done(changes.empty() ? Outcome::Kind::idle : Outcome::Kind::committed, changes);
}

Outcome Reconciler::verify() {
  if (!started_) return {};
  return write_difference(false);
}

Outcome Reconciler::write_difference(bool adopt) {
  doubtful_ = true;
  const auto held = kernel_.read();
  if (!held) return failed(held.error());
  const auto& options = compiler_.settings().options;
  const bool usable = held->present && held->intact && held->program.options == options;
  if (adopt && held->present) compiler_.adopt_classes(held->program);
  const auto wanted = compiler_.program();
  auto changes = usable ? diff::changes_between(held->program, wanted) : diff::install_of(wanted);
  const std::size_t repaired = unexplained(changes);
  withheld_.clear();  // whatever was refused before gets another try
  auto outcome = commit(std::move(changes));
  if (outcome.kind == Outcome::Kind::committed) outcome.repaired = std::min(repaired, outcome.operations);
  return outcome;
}

Outcome Reconciler::commit(diff::Changes changes) {
  for (std::size_t refused = 0; refused <= most_withheld_at_once; ++refused) {
    if (changes.empty()) return done(Outcome::Kind::idle, changes);
    cuts_flows_ = cuts_flows_ || may_cut_flows(changes);
    const auto committed = kernel_.commit(changes);
    if (committed) return done(Outcome::Kind::committed, changes);
    const auto& error = committed.error().error;
    unanswered_ = unanswered_ || may_be_carried_out(error);
    if (error.code() == Errc::busy || !withhold(changes, committed.error())) return failed(error);
  }
  return failed(Error(Errc::refused, "the kernel refuses more elements than can be withheld"));
}

/// The kernel holds what the cluster says.
Outcome Reconciler::done(Outcome::Kind kind, const diff::Changes& changes) {
  Outcome outcome{.kind = kind, .operations = changes.operations(), .installed = changes.install, .error = {}};
  outcome.may_cut_flows = cuts_flows_;
  pending_ = {};
  doubtful_ = unanswered_ = cuts_flows_ = false;
  return outcome;
}

Outcome Reconciler::failed(const Error& error) {
  return {.kind = Outcome::Kind::retry, .may_cut_flows = cuts_flows_, .error = error.what()};
}

bool Reconciler::withhold(diff::Changes& changes, const kernel::Refusal& refusal) {
  if (!refusal.set || !refusal.element || !only_closes(refusal.set->shape)) return false;
  const auto change = changes.sets.find(*refusal.set);
  if (change == changes.sets.end() || !erase(change->second.added, *refusal.element)) return false;
  if (change->second.empty()) changes.sets.erase(change);
  withheld_.push_back({*refusal.set, *refusal.element, refusal.error.what()});
  return true;
}

/// Operations of `changes` that somebody else made necessary: not what waits, and not what was refused.
std::size_t Reconciler::unexplained(const diff::Changes& changes) const {
  if (!started_ || unanswered_) return 0;
  if (changes.install) return changes.operations();
  std::size_t count = 0;
  for (const auto& [set, change] : changes.sets) {
    const auto waiting = pending_.sets.find(set);
    const auto ours = waiting == pending_.sets.end() ? diff::SetChange{} : waiting->second;
    count += count_missing(change.removed, ours.removed) + count_missing(change.added, ours.added);
    for (const auto& w : withheld_) {
      if (w.set != set || !contains(change.added, w.element) || contains(ours.added, w.element)) continue;
      --count;
    }
  }
  return count;
}

}  // namespace podfence::agent
