#pragma once
// Clusters, histories and kernels that fail, for the tests of the reconciler.
#include <gtest/gtest.h>

#include <iostream>
#include <string>
#include <vector>

#include "enforcer/agent/reconciler.h"
#include "policy/diff/diff.h"
#include "tests/support/builders.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/random_world.h"

namespace podfence::agent {

using Events = std::vector<store::Event>;
using Kind = Outcome::Kind;

/// Node n1 with two pods of shop; web is isolated and takes cli on 80, a block on 443 and any port of its workers.
inline std::vector<api::Object> shop() {
  using namespace test;
  return {ns("shop"),
          node("n1").ip("192.0.2.1").pod_cidr("10.0.0.0/24"),
          pod("web").ns("shop").label("app", "web").ip("10.0.0.1").ip("fd00::1"),
          pod("cli").ns("shop").label("app", "cli").ip("10.0.0.2"),
          pod("far").ns("shop").label("app", "cli").node("n2").ip("10.0.1.2"),
          policy("web")
              .ns("shop")
              .selects({{"app", "web"}})
              .ingress(rule().pods({{"app", "cli"}}).port(80))
              .ingress(rule().block("198.51.100.0/24").port(443))
              .ingress(rule().port(9000))
              .egress(rule().pods({{"app", "worker"}}))};
}

inline compile::Settings settings(const std::string& node = "n1", bool fail_closed = true) {
  compile::Settings out;
  out.node = node;
  out.fail_closed = fail_closed;
  out.split_ports = 8;
  return out;
}

inline Events upserts(const std::vector<api::Object>& objects) {
  Events events;
  for (const auto& object : objects) events.emplace_back(store::Upsert{object});
  return events;
}

/// Whether the program is what a compilation from scratch gives, up to class numbers.
inline ::testing::AssertionResult is_of(const program::Program& program, const Reconciler& reconciler) {
  const auto& compiler = reconciler.compiler();
  const auto wanted =
      compile::canonical(compile::compile(compiler.cluster(), compiler.settings(), compiler.attached()));
  const auto held = compile::canonical(program);
  if (held == wanted) return ::testing::AssertionSuccess();
  const auto text = diff::text_of(diff::changes_between(held, wanted));
  return ::testing::AssertionFailure() << "wants:\n" << text.substr(0, 2000);
}

inline ::testing::AssertionResult converged(const test::FakeKernel& kernel, const Reconciler& reconciler) {
  if (!kernel.program()) return ::testing::AssertionFailure() << "there is no table";
  return is_of(*kernel.program(), reconciler);
}

/// A world and what then happens to it.
struct History {
  test::World start;
  std::vector<Events> steps;
  test::World end;
};

inline History random_history(test::Random& random, std::size_t steps) {
  History history{test::random_world(random), {}, {}};
  history.end = history.start;
  for (std::size_t i = 0; i < steps; ++i) history.steps.push_back(test::random_step(random, history.end));
  return history;
}

/// Calls f(random) for every history of the run; the seed is printed.
template <class F>
void for_each_history(std::size_t histories, F&& f) {
  const auto seed = test::seed_of_run();
  histories = test::count_from_env("PODFENCE_HISTORIES", histories);
  std::cout << "PODFENCE_SEED=" << seed << " PODFENCE_HISTORIES=" << histories << std::endl;
  test::Random random(seed);
  for (std::size_t i = 0; i < histories && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("history " + std::to_string(i) + " of PODFENCE_SEED=" + std::to_string(seed));
    f(random);
  }
}

/// How a call fails.
struct Fault {
  const char* name;
  Errc code;
  bool carried_out = false;  // the commit is done, only its answer is lost
};

inline const std::vector<Fault>& faults() {
  static const std::vector<Fault> all{{"EBUSY", Errc::busy},
                                      {"EINVAL", Errc::refused},
                                      {"ENOENT", Errc::not_found},
                                      {"EEXIST", Errc::refused},
                                      {"EPERM", Errc::permission},
                                      {"no answer, not done", Errc::io},
                                      {"no answer, done", Errc::unavailable, true}};
  return all;
}

/// Another kernel, whose calls (commits and reads, counted from 1) of the numbers [first, last] fail.
class FaultyKernel : public kernel::Kernel {
 public:
  FaultyKernel(test::FakeKernel& inner, const Fault& fault, std::size_t first, std::size_t last)
      : inner_(inner), fault_(fault), first_(first), last_(last) {}

  tl::expected<void, kernel::Refusal> commit(const diff::Changes& changes) override {
    if (!fails()) return inner_.commit(changes);
    if (fault_.carried_out) {
      if (auto done = inner_.commit(changes); !done) return done;
    }
    return tl::unexpected(kernel::Refusal{Error(fault_.code, fault_.name), std::nullopt, std::nullopt});
  }
  Result<kernel::Readback> read() override {
    if (fails()) return fail(fault_.code, fault_.name);
    return inner_.read();
  }
  Result<bool> has(program::SetId set, const program::Element& element) override { return inner_.has(set, element); }
  Result<std::map<std::string, kernel::Counter>> counters() override { return inner_.counters(); }

  std::size_t calls() const { return calls_; }

 private:
  bool fails() {
    ++calls_;
    return calls_ >= first_ && calls_ <= last_;
  }

  test::FakeKernel& inner_;
  Fault fault_;
  std::size_t calls_ = 0;
  std::size_t first_;
  std::size_t last_;
};

}  // namespace podfence::agent
