#pragma once
// A kernel that is a Program: commits work on a copy, which replaces it only when all of them are done.
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "enforcer/kernel/kernel.h"

namespace podfence::test {

class FakeKernel : public kernel::Kernel {
 public:
  tl::expected<void, kernel::Refusal> commit(const diff::Changes& changes) override;
  Result<kernel::Readback> read() override;
  Result<bool> has(program::SetId set, const program::Element& element) override {
    return program_ && program::holds(*program_, set, element);
  }
  Result<std::map<std::string, kernel::Counter>> counters() override { return counters_; }

  /// Every commit that was tried, refused ones included.
  const std::vector<diff::Changes>& tried() const { return tried_; }
  /// Elements and installs of the commits that were carried out.
  std::size_t operations() const { return operations_; }
  const std::optional<program::Program>& program() const { return program_; }

  /// Commits that add this element are refused, and say so.
  void refuse(program::SetId set, program::Element element) { refused_.emplace(set, element); }
  void refuse_nothing() { refused_.clear(); }

  /// What another process does to the table: something else in it, other elements, no table at all.
  void damage(std::string why) { foreign_ = std::move(why); }
  void replace(program::Program program) { program_ = std::move(program); }
  void lose_table();

  void count(const std::string& name, kernel::Counter counter) { counters_[name] = counter; }

 private:
  std::optional<program::Program> program_;
  std::string foreign_;
  std::set<std::pair<program::SetId, program::Element>> refused_;
  std::map<std::string, kernel::Counter> counters_;
  std::vector<diff::Changes> tried_;
  std::size_t operations_ = 0;
};

}  // namespace podfence::test
