#pragma once
// The sandboxes of this node: what the plugin reported, on disk before it is believed, joined to the pod objects. At
// its start it finds again what an earlier agent knew, and what the runtime's result cache says was plugged in since.
#include <memory>
#include <string>
#include <vector>

#include "enforcer/sandbox/durable.h"
#include "enforcer/sandbox/join.h"

namespace podfence::sandbox {

class Registry {
 public:
  struct Settings {
    std::string node;
    std::string state_dir;
    std::string results_dir;  // of libcni's result cache; empty: not read
  };
  static Result<std::unique_ptr<Registry>> open(const Settings& settings);

  using Events = Join::Events;
  /// The source's events as the compiler has to hear them.
  Events take(Events events) { return join_.take(std::move(events)); }

  /// On disk when it returns. A repeated report replaces the earlier one.
  Result<Events> add(Attachment attachment);
  /// By container id and interface alone; one that is not known is fine. `fault`: its file stays, and comes to nothing
  /// at the next start if the sandbox is gone by then.
  struct Removed {
    Events events;
    Result<> fault;
  };
  Removed remove(const Key& key);
  /// Those of the network that are not among `valid`: other networks' are no concern of its runtime (G4).
  std::vector<Key> invalid(const std::string& network, const std::vector<Key>& valid) const;

  std::vector<net::IpAddr> take_lost() { return join_.take_lost(); }

  const Attachments& attachments() const { return attachments_; }
  const Join& join() const { return join_; }
  const JournalFiles& journal() const { return journal_; }
  /// What could not be read at the start.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  Registry(AttachmentFiles files, const Settings& settings);
  void find_again();
  void adopt(const std::string& results_dir);

  AttachmentFiles files_;
  JournalFiles journal_;
  Attachments attachments_;
  Join join_;
  std::vector<std::string> problems_;
};

/// Neither its network namespace nor its host interface is there any more.
bool is_gone(const Attachment& attachment);

}  // namespace podfence::sandbox
