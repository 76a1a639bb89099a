#include "enforcer/kernel/print_kernel.h"

#include <ostream>

#include "policy/program/print.h"
#include "policy/program/rule.h"

namespace podfence::kernel {

tl::expected<void, Refusal> PrintKernel::commit(const diff::Changes& changes) {
  if (changes.empty()) return {};
  if (!changes.install && !program_) {
    return tl::unexpected(
        Refusal{Error(Errc::not_found, "dry run: there is no table yet"), std::nullopt, std::nullopt});
  }
  auto after = diff::apply(changes, program_.value_or(program::Program{}));
  if (!after) return tl::unexpected(Refusal{after.error(), std::nullopt, std::nullopt});
  program_ = std::move(*after);
  out_ << (changes.install ? program::print(*program_) : diff::text_of(changes)) << std::flush;
  if (!out_) return tl::unexpected(Refusal{Error(Errc::io, "dry run: cannot write"), std::nullopt, std::nullopt});
  return {};
}

Result<Readback> PrintKernel::read() {
  if (!program_) return Readback{};
  return Readback{true, true, {}, *program_};
}

Result<bool> PrintKernel::has(program::SetId set, const program::Element& element) {
  return program_ && program::holds(*program_, set, element);
}

Result<std::map<std::string, Counter>> PrintKernel::counters() {
  std::map<std::string, Counter> counters;
  for (const auto& name : program::counter_names()) counters[name] = {};
  return counters;
}

}  // namespace podfence::kernel
