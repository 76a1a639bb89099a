#pragma once
// The kernel port that only prints (--dry-run): an install as the whole table, other commits line by line.
#include <iosfwd>

#include "enforcer/kernel/kernel.h"

namespace podfence::kernel {

class PrintKernel : public Kernel {
 public:
  explicit PrintKernel(std::ostream& out) : out_(out) {}

  tl::expected<void, Refusal> commit(const diff::Changes& changes) override;
  Result<Readback> read() override;
  Result<bool> has(program::SetId set, const program::Element& element) override;
  Result<std::map<std::string, Counter>> counters() override;

 private:
  std::ostream& out_;
  std::optional<program::Program> program_;
};

}  // namespace podfence::kernel
