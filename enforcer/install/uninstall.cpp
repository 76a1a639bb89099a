#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "enforcer/install/binary.h"
#include "enforcer/install/clock.h"
#include "enforcer/install/install.h"
#include "enforcer/install/remains.h"

namespace podfence::install {
namespace {

constexpr std::chrono::milliseconds between_looks{100};

/// A runtime that has read the old list may be in the middle of its chain, and start our program only at its end.
void drain(const UninstallOptions& options, const std::string& binary) {
  std::this_thread::sleep_for(options.drain);
  const auto deadline = std::chrono::steady_clock::now() + options.drain;
  while (running(binary) > 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(between_looks);
}

/// Why the program has to stay; empty when it may go.
std::string needed_by(const UninstallOptions& options, const Directory& conf_dir, const std::string& binary) {
  const auto users = users_of_plugin(conf_dir);
  if (!users) return users.error().what();
  if (!users->empty()) return conf_dir.file(users->front()) + " names it, which this installer did not write";
  if (is_same_file(options.common.plugin, binary)) return "it is no copy, but the program itself";
  if (options.purge) return {};
  if (running(binary) > 0) return "it is running";
  const auto attachments = options.attachments ? options.attachments() : Result<std::size_t>(std::size_t{0});
  if (!attachments) return attachments.error().what();
  if (*attachments == 0) return {};
  return std::to_string(*attachments) +
         " sandboxes were made with it, and a runtime that deletes them as they were made needs it (CRI-O, podman): "
         "uninstall again when they are gone, or with --purge";
}

Result<> remove_binary(const UninstallOptions& options, const Directory& conf_dir, Report& report) {
  const auto bin_dir = Directory::open(options.common.bin_dir);
  if (!bin_dir) return fail(Error(bin_dir.error()).in("the runtime's plugins (--bin-dir)"));
  const auto lock = bin_dir->lock(options.common.wait);
  if (!lock) return fail(lock.error());
  bin_dir->remove_leftovers();
  const auto binary = bin_dir->file(plugin_type);
  if (::access(binary.c_str(), F_OK) != 0) return {};
  if (!report.state.binary_is_ours && report.done.empty()) return {};  // nothing was installed from here
  if (report.state.condition != Condition::removed) drain(options, binary);
  const auto reason = needed_by(options, conf_dir, binary);
  if (!reason.empty()) {
    report.warnings.push_back(binary + " stays: " + reason);
    return {};
  }
  if (auto removed = bin_dir->remove(std::string(plugin_type)); !removed) return removed;
  report.done.push_back("removed " + binary);
  return {};
}

/// Reads everything back.
Result<> prove(const Directory& conf_dir, Report& report) {
  const auto found = scan(conf_dir);
  if (!found) return fail(found.error());
  for (const auto* lists : {&found->own, &found->theirs}) {
    for (const auto& list : *lists) {
      for (const auto& entry : list.conf.plugins) {
        if (entry.mark) return fail(Errc::busy, conf_dir.file(list.conf.name) + ": has an entry of ours again");
      }
    }
  }
  const auto users = users_of_plugin(conf_dir);
  if (!users) return fail(users.error());
  for (const auto& user : *users) {
    report.warnings.push_back(conf_dir.file(user) + ": names podfence-cni; it was put in by hand, and stays");
  }
  return {};
}

}  // namespace

Result<Report> uninstall(const UninstallOptions& options, Runtime& runtime) {
  const auto conf_dir = Directory::open(options.common.conf_dir);
  if (!conf_dir) return fail(Error(conf_dir.error()).in("the runtime's configuration (--conf-dir)"));
  const auto lock = conf_dir->lock(options.common.wait);
  if (!lock) return fail(lock.error());
  conf_dir->remove_leftovers();
  const StateFiles files(options.common.state_dir);
  Report report;
  report.state = files.load();
  if (auto removed = remove_remains(*conf_dir, files, report.state, "", report.done); !removed) {
    return fail(removed.error());
  }
  const auto users = users_of_plugin(*conf_dir);
  if (!users) return fail(users.error());
  report.verdict = users->empty() ? verify(runtime, *conf_dir, report.state.network, 0, options.common.verify_time,
                                           [] { return true; })
                                  : Verdict{Answer::unknown, "not asked: a file written by hand names the plugin"};
  if (report.verdict.answer == Answer::no) {
    return fail(Errc::busy, report.verdict.text + "; the program stays until the runtime has let go of it");
  }
  if (auto removed = remove_binary(options, *conf_dir, report); !removed) return fail(removed.error());
  if (auto proven = prove(*conf_dir, report); !proven) return fail(proven.error());
  report.state.condition = Condition::removed;
  report.state.problem.clear();
  report.state.verified = report.verdict.text;
  report.state.original_file.clear();
  report.state.updated = utc_now();
  struct stat info {};
  if (::stat(options.common.state_dir.c_str(), &info) != 0) return report;  // nothing was ever remembered
  if (auto saved = files.save(report.state); !saved) return fail(saved.error());
  if (auto removed = files.remove_original(); !removed) return fail(removed.error());
  return report;
}

}  // namespace podfence::install
