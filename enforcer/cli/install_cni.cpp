#include "enforcer/cli/install_cni.h"

#include <sys/signalfd.h>

#include <csignal>
#include <filesystem>
#include <ostream>

#include "enforcer/agent/version.h"
#include "enforcer/install/cri.h"
#include "enforcer/install/install.h"
#include "enforcer/install/watch.h"
#include "enforcer/sandbox/result_cache.h"
#include "policy/base/json_writer.h"

namespace podfence::cli {
namespace {

constexpr int exit_error = 1;
constexpr int exit_no = 2;
constexpr double most_seconds = 86'400;

std::chrono::milliseconds milliseconds_of(double seconds) {
  constexpr double thousand = 1000;
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * thousand));
}

/// Where `cmake --install` and the package put it: ../lib/cni beside the directory of this program.
std::string usual_plugin() {
  std::error_code ec;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ec);
  return (self.parent_path().parent_path() / "lib/cni/podfence-cni").string();
}

/// Attachments in the runtime's cache whose chain had our plugin.
Result<std::size_t> count_attachments(const std::string& directory) {
  auto cached = sandbox::read_result_cache(directory);
  if (!cached.problems.empty()) return fail(Errc::io, cached.problems.front());
  return cached.attachments.size();
}

const install::Options& options_of(InstallArguments& a) {
  auto& common = a.options.common;
  common.mode = *install::parse_mode(a.mode);
  common.wait = milliseconds_of(a.wait_seconds);
  common.verify_time = milliseconds_of(a.verify_seconds);
  common.need_agent = !a.without_agent;
  common.version = agent::version;
  if (common.plugin.empty()) common.plugin = usual_plugin();
  if (a.deadline_seconds > 0) common.entry.deadline_seconds = a.deadline_seconds;
  a.options.drain = milliseconds_of(a.drain_seconds);
  a.options.attachments = [directory = a.results] { return count_attachments(directory); };
  return common;
}

void print(const install::Report& report, const InstallArguments& a, bool fine, std::ostream& out, std::ostream& err) {
  if (a.output == "json") {
    std::string text;
    JsonWriter json(text);
    json.begin_object().field("ok", fine).key("done").begin_array();
    for (const auto& line : report.done) json.value(line);
    json.end_array().key("warnings").begin_array();
    for (const auto& line : report.warnings) json.value(line);
    json.end_array().field("runtime", report.verdict.text).key("state");
    json.raw(install::json_of(report.state).substr(0, install::json_of(report.state).size() - 1)).end_object();
    out << text << '\n';
    return;
  }
  for (const auto& line : report.done) out << line << '\n';
  for (const auto& line : report.warnings) err << "podfence: " << line << '\n';
  out << "runtime: " << report.verdict.text << '\n';
  if (report.done.empty() && fine) out << "nothing to do\n";
}

int report_error(const Error& error, std::ostream& err) {
  err << "podfence: " << error.what() << '\n';
  return exit_error;
}

/// Until SIGTERM or SIGINT; what is installed stays, because an upgrade is no uninstallation.
int watch(const InstallArguments& a, const install::Options& options, std::ostream& err) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const install::Descriptor stop(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!stop) return report_error(install::system_error("signalfd"), err);
  install::WatchEvents events;
  events.passed = [&](const install::Report& report) {
    print(report, a, report.verdict.answer != install::Answer::no, err, err);
    err.flush();
  };
  events.failed = [&](const Error& error) { report_error(error, err); };
  const auto runtime = install::find_runtime(options.cri_socket);
  const auto done = install::watch(options, *runtime, events, stop.get());
  return done ? 0 : report_error(done.error(), err);
}

void add_common(CLI::App& c, InstallArguments& a) {
  auto& o = a.options.common;
  c.add_option("--conf-dir", o.conf_dir, "Where the runtime reads networks")->capture_default_str();
  c.add_option("--bin-dir", o.bin_dir, "Where the runtime looks for plugins")->capture_default_str();
  c.add_option("--state-dir", o.state_dir, "What must survive a restart; cni-install.json there says how it stands")
      ->capture_default_str();
  c.add_option("--plugin", o.plugin, "The program to install; default: ../lib/cni/podfence-cni beside this program");
  c.add_option("--cri-socket", o.cri_socket, "The runtime's, to ask what it has loaded; none = do not ask");
  c.add_option("--wait", a.wait_seconds, "Seconds to wait for a network, the agent, another installer")
      ->check(CLI::Range(0.0, most_seconds))
      ->capture_default_str();
  c.add_option("--verify-seconds", a.verify_seconds, "How long the runtime may take to load a change")
      ->check(CLI::Range(0.0, most_seconds))
      ->capture_default_str();
  c.add_option("-o,--output", a.output, "text or json")->check(CLI::IsMember({"text", "json"}));
}

}  // namespace

void add_install(CLI::App& app, InstallArguments& a) {
  auto& c = *app.add_subcommand("install-cni", "Puts podfence-cni into the runtime's chain of plugins");
  auto& o = a.options.common;
  add_common(c, a);
  c.add_option("--mode", a.mode,
               "own: a list of our own that sorts first; drop-in: a file for libcni 1.3; in-place: an entry in the "
               "network's own list")
      ->check(CLI::IsMember({"own", "drop-in", "in-place"}))
      ->capture_default_str();
  c.add_option("--primary", o.primary, "Name of the file to chain behind; default: the first one, as runtimes choose");
  c.add_option("--search-dir", o.search_dirs, "Another directory in which the runtime looks for plugins");
  c.add_option("--socket", o.entry.socket, "The agent's socket, for the plugin");
  c.add_option("--plugin-state-dir", o.entry.state_dir, "The agent's state directory, for the plugin");
  c.add_option("--log-file", o.entry.log_file, "A log of the plugin's own");
  c.add_option("--deadline-seconds", a.deadline_seconds, "How long the plugin waits for the agent")
      ->check(CLI::Range(0.001, 300.0));
  c.add_option("--on-agent-unavailable", o.entry.on_agent_unavailable, "wait or deny")
      ->check(CLI::IsMember({"wait", "deny"}));
  c.add_flag("--without-agent", a.without_agent, "Do not look whether the agent answers");
  c.add_flag("--unverified", o.unverified,
             "Use --mode drop-in even if the runtime cannot be asked whether it reads drop-ins");
  c.add_flag("--watch", a.watch, "Stay, and put right what others change; what is installed stays after the end");
  c.add_flag("--check", a.check, "Change nothing; exit code 2 = it is not in place");
  c.footer("Example: podfence install-cni --conf-dir /etc/cni/net.d --bin-dir /opt/cni/bin");

  auto& u = *app.add_subcommand("uninstall-cni", "Takes podfence-cni out of the runtime's chain, whatever the mode");
  add_uninstall_options(u, a);
  u.footer("Example: podfence uninstall-cni");
}

void add_uninstall_options(CLI::App& command, InstallArguments& a) {
  add_common(command, a);
  command.add_option("--drain-seconds", a.drain_seconds, "Time for chains that the runtime has begun")
      ->check(CLI::Range(0.0, most_seconds))
      ->capture_default_str();
  command.add_option("--cni-results", a.results, "The runtime's cache of plugin results")->capture_default_str();
  command.add_flag("--purge", a.options.purge, "Remove the program even if sandboxes were made with it");
}

int run_install(InstallArguments& a, std::ostream& out, std::ostream& err) {
  const auto& options = options_of(a);
  if (a.watch) return watch(a, options, err);
  const auto runtime = install::find_runtime(a.options.common.cri_socket);
  const auto report = a.check ? install::check(options, *runtime) : install::install(options, *runtime);
  if (!report) return report_error(report.error(), err);
  const bool fine = report->verdict.answer != install::Answer::no && (!a.check || report->warnings.empty());
  print(*report, a, fine, out, err);
  return fine ? 0 : exit_no;
}

int run_uninstall(InstallArguments& a, std::ostream& out, std::ostream& err) {
  options_of(a);
  const auto runtime = install::find_runtime(a.options.common.cri_socket);
  const auto report = install::uninstall(a.options, *runtime);
  if (!report) return report_error(report.error(), err);
  print(*report, a, true, out, err);
  return 0;
}

}  // namespace podfence::cli
