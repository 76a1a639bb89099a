#pragma once
// Makes the kernel hold what the cluster says. It owns the compiler, takes the source's events, and turns them into
// commits on the kernel port. No clock, no socket, no thread of its own: the agent calls it and acts on the Outcome.
//
// Nothing is written before the source is synced (start()), and nothing is ever flushed: a start is a read and a diff.
// What the kernel refuses is withheld, which only ever closes: the rest is applied, and status() says so.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "enforcer/kernel/kernel.h"
#include "policy/compile/compiler.h"

namespace podfence::agent {

struct Outcome {
  enum class Kind : std::uint8_t {
    idle,       // nothing to do
    committed,  // the kernel holds what the cluster says (but for what is withheld)
    retry,      // not now: call reconcile() again after a pause; the old rules stand
  };
  Kind kind = Kind::idle;
  std::size_t operations = 0;  // elements removed and added
  std::size_t repaired = 0;    // of these, differences that neither the cluster nor a refusal explains (drift)
  bool installed = false;      // the whole table was made anew
  bool may_cut_flows = false;  // a flow that was allowed may be forbidden now: conntrack wants a walk
  std::string error;           // of retry
};

/// An element that the kernel refused, or that could not be applied beside the others.
struct Withheld {
  program::SetId set;
  program::Element element;
  std::string why;
};

class Reconciler {
 public:
  Reconciler(compile::Settings settings, kernel::Kernel& kernel);

  /// What changed in the cluster. Compiled at once; committed by the next start() or reconcile(). A slow kernel
  /// coalesces: only the sum of the changes waits.
  void take(std::vector<store::Event> events);

  /// The addresses that are plugged in on this node, instead of those of the last call; committed as above.
  void attach(std::span<const net::IpAddr> addresses);

  /// First commit, once the source is synced: reads the kernel, takes over its class numbers, writes the difference.
  Outcome start();
  /// Commits what waits.
  Outcome reconcile();
  /// Reads the kernel back and writes the difference: after a foreign change, and on a slow timer. What was withheld
  /// gets another try.
  Outcome verify();

  bool started() const { return started_; }
  const compile::Compiler& compiler() const { return compiler_; }
  const std::vector<Withheld>& withheld() const { return withheld_; }
  /// Whether the kernel may be behind the cluster.
  bool waiting() const { return !pending_.empty() || doubtful_; }

 private:
  Outcome write_difference(bool adopt);
  Outcome commit(diff::Changes changes);
  Outcome done(Outcome::Kind kind, const diff::Changes& changes);
  Outcome failed(const Error& error);
  bool withhold(diff::Changes& changes, const kernel::Refusal& refusal);
  std::size_t unexplained(const diff::Changes& changes) const;

  compile::Compiler compiler_;
  kernel::Kernel& kernel_;
  diff::Changes pending_;
  std::vector<Withheld> withheld_;
  bool started_ = false;
  bool doubtful_ = false;    // the kernel may differ by more than what waits: it has to be read first
  bool unanswered_ = false;  // a commit of ours may have been carried out although it failed
  bool cuts_flows_ = false;  // commits since the last good outcome may have cut flows
};

/// Whether a flow that passed before these changes may be forbidden after them.
bool may_cut_flows(const diff::Changes& changes);

}  // namespace podfence::agent
