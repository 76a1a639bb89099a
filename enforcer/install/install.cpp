#include "enforcer/install/install.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <thread>

#include "enforcer/install/binary.h"
#include "enforcer/install/clock.h"
#include "enforcer/install/plan.h"
#include "enforcer/install/remains.h"
#include "enforcer/install/unix_socket.h"

namespace podfence::install {
namespace {

constexpr mode_t list_mode = 0600;
constexpr mode_t drop_in_directory_mode = 0755;
constexpr double stable_seconds = 1;
constexpr std::chrono::milliseconds between_reads{150};
constexpr std::chrono::milliseconds between_attempts{250};
constexpr const char* usual_socket = "/run/podfence/agent.sock";

/// Everything that one pass works on; the locks go with it.
struct Work {
  Directory conf_dir;
  Directory bin_dir;
  StateFiles files;
  State before;  // as the last run left it
  Want want;
  std::optional<std::string> on_disk;  // where the wanted file would be
  bool binary_fits = false;
};

/// Read until two looks are the same: whoever writes a list in place must not be copied half-way.
Result<Scan> stable_scan(const Directory& conf_dir, const std::string& primary) {
  auto first = scan(conf_dir);
  if (!first) return first;
  const auto young = [&](const Found& f) {
    return f.age_seconds < stable_seconds && (primary.empty() || f.conf.name == primary);
  };
  if (std::none_of(first->theirs.begin(), first->theirs.end(), young)) return first;
  std::this_thread::sleep_for(between_reads);
  auto second = scan(conf_dir);
  if (!second) return second;
  const auto same = [](const Found& a, const Found& b) {
    return a.conf.name == b.conf.name && a.conf.bytes == b.conf.bytes;
  };
  if (std::equal(first->theirs.begin(), first->theirs.end(), second->theirs.begin(), second->theirs.end(), same)) {
    return second;
  }
  return fail(Errc::busy, conf_dir.path() + ": somebody is writing here just now");
}

/// The other plugins of the chain must be where ours goes: else the runtime looks elsewhere, and every pod would fail.
Result<> check_programs(const Options& options, const Want& want) {
  for (const auto& type : want.types) {
    const std::string program = "/" + type;
    const auto found = [&](const std::string& dir) { return ::access((dir + program).c_str(), X_OK) == 0; };
    if (found(options.bin_dir)) continue;
    if (std::any_of(options.search_dirs.begin(), options.search_dirs.end(), found)) continue;
    return fail(Errc::not_found, options.bin_dir + ": has no program " + type + ", which " + want.primary +
                                     " names: is it the directory in which the runtime looks for plugins (--bin-dir, "
                                     "--search-dir)?");
  }
  return {};
}

std::optional<std::string> content(const Directory& conf_dir, const Want& want) {
  const auto directory =
      want.directory.empty() ? Directory::open(conf_dir.path()) : Directory::open(conf_dir.file(want.directory));
  if (!directory) return std::nullopt;
  auto read = directory->read(want.name);
  return read && !read->is_link ? std::optional(std::move(read->bytes)) : std::nullopt;
}

/// Not one of the errors that may pass.
tl::unexpected<Error> no_directory(const Error& error, const std::string& which) {
  return fail(Errc::invalid, which + ": " + error.what());
}

bool stands(const Work& work) {
  return content(work.conf_dir, work.want) == work.want.bytes;
}

Result<Work> look(const Options& options) {
  auto conf_dir = Directory::open(options.conf_dir);
  if (!conf_dir) return no_directory(conf_dir.error(), "the runtime's configuration (--conf-dir)");
  auto bin_dir = Directory::open(options.bin_dir);
  if (!bin_dir) return no_directory(bin_dir.error(), "the runtime's plugins (--bin-dir)");
  const auto versions = ask_versions(options.plugin);
  if (!versions) return fail(versions.error());
  StateFiles files(options.state_dir);
  auto before = files.load();
  auto found = stable_scan(*conf_dir, options.primary);
  if (!found) return fail(found.error());
  auto want = plan(options, *found, *versions, before.conf_dir == options.conf_dir ? before.primary : "");
  if (!want) return fail(std::move(want).error().in(options.conf_dir));
  if (auto there = check_programs(options, *want); !there) return fail(there.error());
  Work work{
      std::move(*conf_dir), std::move(*bin_dir), std::move(files), std::move(before), std::move(*want), {}, false};
  work.on_disk = content(work.conf_dir, work.want);
  work.binary_fits = is_placed(options.plugin, work.bin_dir, std::string(plugin_type));
  return work;
}

State next_state(const Options& options, const Work& work) {
  State s = work.before;
  s.problem.clear();
  s.mode = options.mode;
  s.conf_dir = options.conf_dir;
  s.file = work.want.path();
  s.file_sum = checksum(work.want.bytes);
  s.primary = work.want.primary;
  s.network = work.want.network;
  s.binary = work.bin_dir.file(plugin_type);
  s.binary_is_ours = !is_same_file(options.plugin, s.binary);
  s.version = options.version;
  s.original_file = options.mode == Mode::in_place ? work.want.primary : "";
  s.original_sum = options.mode == Mode::in_place ? checksum(work.want.original) : "";
  return s;
}

bool was_installed(const Options& options, const State& before) {
  const bool stands = before.condition == Condition::installed || before.condition == Condition::degraded;
  return stands && before.conf_dir == options.conf_dir;
}

/// What is different from what the last run wrote was changed by somebody; the rest follows the network.
void count_change(const Options& options, const Work& work, State& state) {
  const auto& before = work.before;
  if (!was_installed(options, before) || before.mode != options.mode) return;
  const bool file_differs = work.on_disk != work.want.bytes;
  const bool file_touched = !work.on_disk || checksum(*work.on_disk) != before.file_sum;
  const bool binary_touched = !work.binary_fits && before.version == options.version;
  if ((file_differs && file_touched && before.file == work.want.path()) || binary_touched) {
    ++state.repairs;
    state.last_repair = utc_now() + " " + (file_differs ? work.conf_dir.file(work.want.path()) : state.binary);
  } else if (file_differs) {
    ++state.updates;
  }
}

Result<> write_want(const Work& work, Report& report) {
  if (work.on_disk == work.want.bytes) return {};  // no write, no reload
  if (work.want.directory.empty()) {
    const auto* expected = report.state.mode == Mode::in_place && work.on_disk ? &*work.on_disk : nullptr;
    if (auto written = work.conf_dir.write(work.want.name, work.want.bytes, list_mode, expected); !written) {
      return written;
    }
  } else {
    const auto path = work.conf_dir.file(work.want.directory);
    if (::mkdir(path.c_str(), drop_in_directory_mode) != 0 && errno != EEXIST) return fail(system_error(path));
    const auto directory = Directory::open(path);
    if (!directory) return fail(directory.error());
    if (auto written = directory->write(work.want.name, work.want.bytes, list_mode); !written) return written;
    if (auto nudged = work.conf_dir.nudge(); !nudged) return nudged;  // runtimes watch the parent only
  }
  report.done.push_back("wrote " + work.conf_dir.file(work.want.path()) + ", from " + work.want.primary);
  return {};
}

bool is_unchanged(const State& a, State b) {
  b.updated = a.updated;
  return json_of(a) == json_of(b);
}

/// A runtime that does not read drop-ins says nothing, and starts pods without us: so what stood before stays until it
/// has shown that it does.
Result<> prove_drop_in(const Options& options, Runtime& runtime, const Work& work) {
  if (options.unverified) return {};
  const auto verdict = verify(runtime, work.conf_dir, work.want.network, work.want.entries + 1, options.verify_time,
                              [&] { return stands(work); });
  if (verdict.answer == Answer::yes) return {};
  if (!work.on_disk) {
    const auto directory = Directory::open(work.conf_dir.file(work.want.directory));
    if (!directory) return fail(directory.error());
    if (auto removed = directory->remove(work.want.name); !removed) return removed;
    ::unlinkat(work.conf_dir.fd(), work.want.directory.c_str(), AT_REMOVEDIR);  // unless others use it
    if (auto restored = work.files.save(work.before); !restored) return restored;
  }
  return fail(Errc::refused, verdict.text + "; drop-ins need libcni 1.3 (containerd 2.1, CRI-O 1.33): use --mode own" +
                                 (verdict.answer == Answer::unknown ? ", or --unverified if you are sure" : ""));
}

/// Changes the disk. The order matters: the program before the list that names it, the new list before the old one
/// goes, and what is needed to undo it before anything.
Result<> make(const Options& options, Runtime& runtime, const Work& work, Report& report) {
  if (!is_unchanged(work.before, report.state)) {
    if (auto saved = work.files.save(report.state); !saved) return saved;
  }
  if (options.mode == Mode::in_place && !work.files.load_original(report.state)) {
    if (auto saved = work.files.save_original(work.want.original); !saved) return saved;
  }
  const auto lock = work.bin_dir.lock(options.wait);
  if (!lock) return fail(lock.error());
  work.bin_dir.remove_leftovers();
  const auto placed = place_binary(options.plugin, work.bin_dir, std::string(plugin_type));
  if (!placed) return fail(placed.error());
  if (*placed != Placed::was_there) {
    report.done.push_back((*placed == Placed::is_new ? "installed " : "replaced ") + report.state.binary);
  }
  if (auto written = write_want(work, report); !written) return written;
  if (options.mode == Mode::drop_in) {
    if (auto proven = prove_drop_in(options, runtime, work); !proven) return proven;
  }
  return remove_remains(work.conf_dir, work.files, work.before, work.want.path(), report.done);
}

Result<> finish(const Options& options, Runtime& runtime, const Work& work, Report& report) {
  report.verdict =
      verify(runtime, work.conf_dir, work.want.network, 1, options.verify_time, [&] { return stands(work); });
  if (report.verdict.answer == Answer::no && !stands(work)) {
    return fail(Errc::busy, work.conf_dir.file(work.want.path()) + ": somebody has overwritten it just now");
  }
  report.state.verified = report.verdict.text;
  report.warnings.insert(report.warnings.end(), report.verdict.notes.begin(), report.verdict.notes.end());
  report.state.condition = report.verdict.answer == Answer::no ? Condition::degraded : Condition::installed;
  if (report.verdict.answer == Answer::no) report.state.problem = report.verdict.text;
  if (is_unchanged(work.before, report.state)) return {};
  report.state.updated = utc_now();
  return work.files.save(report.state);
}

}  // namespace

Result<Report> install_once(const Options& options, Runtime& runtime) {
  const auto conf_dir = Directory::open(options.conf_dir);
  if (!conf_dir) return no_directory(conf_dir.error(), "the runtime's configuration (--conf-dir)");
  const auto lock = conf_dir->lock(options.wait);
  if (!lock) return fail(lock.error());
  conf_dir->remove_leftovers();
  const auto work = look(options);
  if (!work) return fail(work.error());
  Report report;
  report.warnings = work->want.warnings;
  if (!work->before.problem.empty()) report.warnings.push_back("the state of before: " + work->before.problem);
  report.state = next_state(options, *work);
  count_change(options, *work, report.state);
  // What was installed is repaired whatever the agent does: a chain without us would open what is closed.
  if (options.need_agent && !was_installed(options, work->before) && work->on_disk != work->want.bytes) {
    if (auto ready = ask_agent(options.entry.socket.empty() ? usual_socket : options.entry.socket); !ready)
      return fail(ready.error());
  }
  if (auto made = make(options, runtime, *work, report); !made) return fail(made.error());
  if (auto finished = finish(options, runtime, *work, report); !finished) return fail(finished.error());
  return report;
}

Result<Report> install(const Options& options, Runtime& runtime) {
  const auto deadline = std::chrono::steady_clock::now() + options.wait;
  for (;;) {
    auto report = install_once(options, runtime);
    if (report) return report;
    const auto code = report.error().code();
    const bool may_pass = code == Errc::busy || code == Errc::not_found || code == Errc::unavailable;
    if (!may_pass || std::chrono::steady_clock::now() >= deadline) return report;
    std::this_thread::sleep_for(between_attempts);
  }
}

Result<Report> check(const Options& options, Runtime& runtime) {
  const auto work = look(options);
  if (!work) return fail(work.error());
  Report report;
  report.state = work->before;
  if (work->on_disk != work->want.bytes) {
    report.warnings.push_back(work->conf_dir.file(work->want.path()) +
                              (work->on_disk ? ": is not what it ought to be" : ": is missing"));
  }
  if (!work->binary_fits) {
    report.warnings.push_back(work->bin_dir.file(plugin_type) + ": is missing, or is not " + options.plugin);
  }
  report.verdict = verify(runtime, work->conf_dir, work->want.network, 1, std::chrono::milliseconds(0),
                          [&] { return stands(*work); });
  if (report.verdict.answer == Answer::no) report.warnings.push_back(report.verdict.text);
  return report;
}

}  // namespace podfence::install
