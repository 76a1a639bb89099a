#include "enforcer/cli/uninstall.h"

#include <csignal>
#include <filesystem>
#include <ostream>
#include <set>

#include "enforcer/agent/control.h"
#include "enforcer/kernel/nft_kernel.h"
#include "enforcer/link/spoof_guard.h"
#include "enforcer/observe/observe_table.h"

namespace podfence::cli {
namespace {

namespace fs = std::filesystem;

/// The plugin goes first: while it is in the chain, pods start only with an agent. Whoever runs no CNI has none.
bool remove_plugin(UninstallArguments& a, std::ostream& out, std::ostream& err) {
  std::error_code ec;
  if (!fs::exists(a.cni.options.common.conf_dir, ec)) return true;
  return run_uninstall(a.cni, out, err) == 0;
}

/// What sees packets last goes last: nobody's source is checked any more only after nobody is judged.
Result<> remove_tables() {
  auto observed = observe::ObserveTable::open({});
  if (!observed) return fail(observed.error());
  if (auto purged = observed->purge(); !purged) return purged;
  const auto kernel = kernel::NftKernel::open();
  if (!kernel) return fail(kernel.error());
  if (auto purged = (*kernel)->purge(); !purged) return purged;
  auto guard = link::SpoofGuard::open({});
  if (!guard) return fail(guard.error());
  return guard->purge();
}

/// Only directories that are named podfence are ours to remove whole.
Result<> remove_directory(const fs::path& directory, std::ostream& out, std::ostream& err) {
  std::error_code ec;
  if (!fs::is_directory(directory, ec)) return {};
  if (directory.filename() != "podfence") {
    err << "podfence: " << directory.string() << " stays: it is not named podfence\n";
    return {};
  }
  for (const auto& entry : fs::directory_iterator(directory, ec)) {
    fs::remove_all(entry.path(), ec);
    if (ec) return fail(Errc::io, entry.path().string() + ": " + ec.message());
  }
  if (ec) return fail(Errc::io, directory.string() + ": " + ec.message());
  if (fs::remove(directory, ec)) {
    out << "removed " << directory.string() << '\n';
  } else if (ec == std::errc::device_or_resource_busy) {
    out << "emptied " << directory.string() << ", which is mounted\n";
  } else {
    return fail(Errc::io, directory.string() + ": " + ec.message());
  }
  return {};
}

void wait_for_end() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  int which = 0;
  ::sigwait(&signals, &which);
}

}  // namespace

void add_node_uninstall(CLI::App& app, UninstallArguments& a) {
  auto& c = *app.add_subcommand("uninstall", "Removes plugin, rules, state and flow logs from this node");
  add_uninstall_options(c, a.cni);
  c.add_option("--socket", a.socket, "The agent's; it must have ended")->capture_default_str();
  c.add_option("--flow-log", a.flow_log, "Where the agent wrote its flow log")->capture_default_str();
  c.add_flag("--hold", a.hold, "Then stay until SIGTERM: for a DaemonSet");
  c.footer("From then on nothing is enforced. Example: podfence uninstall");
}

int run_node_uninstall(UninstallArguments& a, std::ostream& out, std::ostream& err) {
  if (agent::ask(a.socket, R"({"command":"status"})")) {
    err << "podfence: an agent answers at " << a.socket << ": end it first, it would put back what is removed\n";
    return 1;
  }
  if (!remove_plugin(a, out, err)) return 1;
  if (const auto removed = remove_tables(); !removed) {
    err << "podfence: " << removed.error().what() << '\n';
    return 1;
  }
  out << "removed the tables podfence and podfence_observe\n";
  for (const auto& directory :
       std::set<fs::path>{fs::path(a.cni.options.common.state_dir), fs::path(a.socket).parent_path(),
                          fs::path(a.flow_log).parent_path()}) {
    if (const auto removed = remove_directory(directory, out, err); !removed) {
      err << "podfence: " << removed.error().what() << '\n';
      return 1;
    }
  }
  out.flush();
  if (a.hold) wait_for_end();
  return 0;
}

}  // namespace podfence::cli
