#pragma once
// Another kernel, whose n-th commit (counted from 1) fails.
#include <cstddef>

#include "enforcer/kernel/kernel.h"

namespace podfence::test {

class FailingKernel : public kernel::Kernel {
 public:
  /// after_all: the commit is carried out all the same, as when the kernel's answer is lost.
  FailingKernel(kernel::Kernel& inner, std::size_t n, bool after_all = false)
      : inner_(inner), fails_at_(n), after_all_(after_all) {}

  tl::expected<void, kernel::Refusal> commit(const diff::Changes& changes) override {
    if (++commits_ != fails_at_) return inner_.commit(changes);
    if (after_all_) {
      if (auto done = inner_.commit(changes); !done) return done;
    }
    return tl::unexpected(kernel::Refusal{Error(Errc::io, "failing kernel: commit " + std::to_string(commits_)),
                                          std::nullopt, std::nullopt});
  }
  Result<kernel::Readback> read() override { return inner_.read(); }
  Result<bool> has(program::SetId set, const program::Element& element) override { return inner_.has(set, element); }
  Result<std::map<std::string, kernel::Counter>> counters() override { return inner_.counters(); }

  std::size_t commits() const { return commits_; }

 private:
  kernel::Kernel& inner_;
  std::size_t commits_ = 0;
  std::size_t fails_at_;
  bool after_all_;
};

}  // namespace podfence::test
