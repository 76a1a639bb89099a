#include "tests/support/fake_kernel.h"

#include <algorithm>

#include "policy/program/rule.h"

namespace podfence::test {

tl::expected<void, kernel::Refusal> FakeKernel::commit(const diff::Changes& changes) {
  if (changes.empty()) return {};
  tried_.push_back(changes);
  for (const auto& [set, element] : refused_) {
    const auto change = changes.sets.find(set);
    if (change == changes.sets.end()) continue;
    const auto& added = change->second.added;
    if (std::find(added.begin(), added.end(), element) != added.end()) {
      const std::string where = std::string(name_of(set)) + " { " + text_of(set, element) + " }";
      return tl::unexpected(kernel::Refusal{Error(Errc::refused, "fake kernel: adding to " + where), set, element});
    }
  }
  if (!program_ && !changes.install) {
    return tl::unexpected(
        kernel::Refusal{Error(Errc::not_found, "fake kernel: there is no table"), std::nullopt, std::nullopt});
  }
  auto after = diff::apply(changes, program_.value_or(program::Program{}));
  if (!after) return tl::unexpected(kernel::Refusal{after.error(), std::nullopt, std::nullopt});
  program_ = std::move(*after);
  operations_ += changes.operations();
  if (changes.install) {
    foreign_.clear();
    counters_.clear();
    for (const auto& name : program::counter_names()) counters_[name] = {};
  }
  return {};
}

Result<kernel::Readback> FakeKernel::read() {
  if (!program_) return kernel::Readback{};
  return kernel::Readback{true, foreign_.empty(), foreign_, *program_};
}

void FakeKernel::lose_table() {
  program_.reset();
  foreign_.clear();
  counters_.clear();
}

}  // namespace podfence::test
