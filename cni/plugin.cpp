#include "cni/plugin.h"

#include <algorithm>
#include <array>

#include "cni/config.h"
#include "cni/message.h"
#include "cni/result.h"
#include "policy/base/json_writer.h"

namespace podfence::cni {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t longest_input = 4U << 20U;
constexpr milliseconds del_limit{2'000};  // then the journal takes it
constexpr milliseconds status_limit{80};  // runtimes hold locks while they wait for STATUS

/// One command under way. Each step refuses or goes on.
class Run {
 public:
  Run(const Env& env, const Config& config, std::ostream& out, std::ostream& err, Agent& agent, Host& host)
      : env_(env), config_(config), out_(out), err_(err), agent_(agent), host_(host) {}

  Outcome<> add();
  Outcome<> del();
  Outcome<> check();
  Outcome<> gc();
  Outcome<> status();

 private:
  Outcome<PodAttachment> attachment();
  Outcome<> compare_with_result(const Veth& veth, const PreviousResult& previous) const;
  Outcome<> ask(std::string_view line, milliseconds limit, IfAbsent if_absent);
  Outcome<> deny(const std::string& request, const Veth& veth, const Failure& why);
  Result<void> lift();
  std::string entry() const { return env_.container_id + '@' + env_.ifname; }
  Outcome<> needs_version(std::string_view first, std::string_view command) const;

  const Env& env_;
  const Config& config_;
  std::ostream& out_;
  std::ostream& err_;
  Agent& agent_;
  Host& host_;
};

Failure unreachable(const Error& error) {
  if (error.code() == Errc::busy) {
    return {Code::try_again, "the podfence agent of this node did not confirm in time; the runtime tries again",
            error.what()};
  }
  return {Code::try_again,
          "the podfence agent of this node cannot be reached: pods start when it runs again; the runtime tries again",
          error.what()};
}

Outcome<> Run::ask(std::string_view line, milliseconds limit, IfAbsent if_absent) {
  const auto answer = agent_.ask(config_.socket, line, limit, if_absent);
  if (!answer) return refuse(unreachable(answer.error()));
  return read_answer(*answer);
}

Outcome<> Run::needs_version(std::string_view first, std::string_view command) const {
  if (version_at_least(config_.cni_version, first)) return {};
  return refuse(Code::incompatible_version, "config version does not allow " + std::string(command),
                "cniVersion " + config_.cni_version + " is older than " + std::string(first));
}

/// The interface that was found must be one that the plugins before this one know of, if they name any on the host.
Outcome<> Run::compare_with_result(const Veth& veth, const PreviousResult& previous) const {
  const auto& named = previous.host_interfaces;
  const auto has = [&](const std::string& name) { return std::find(named.begin(), named.end(), name) != named.end(); };
  if (named.empty() || has(veth.name) || (!veth.bridge.empty() && has(veth.bridge))) return {};
  std::string list;
  for (const std::string& name : named) list += (list.empty() ? "" : ", ") + name;
  return refuse(Code::invalid_config, "the kernel and prevResult disagree about the host's end of " + env_.ifname,
                "the kernel says " + veth.name + ", prevResult names " + list);
}

Outcome<PodAttachment> Run::attachment() {
  if (!config_.prev_result) {
    return refuse(Code::invalid_config, "missing prevResult from earlier plugin",
                  "podfence-cni is a chained plugin: put it behind the one that makes the interface");
  }
  auto pod = read_args(env_.args);
  if (!pod) return refuse(pod.error());
  const auto previous = read_result(*config_.prev_result, env_.ifname, env_.netns);
  if (!previous) return refuse(previous.error());
  if (previous->addresses.empty()) {
    return refuse(Code::invalid_config, "prevResult has no address of " + env_.ifname,
                  "podfence enforces by address; is there an ipam plugin in the chain?");
  }
  auto veth = host_.find_veth(env_.netns, env_.ifname, own_netns_allowed(env_));
  if (!veth) return refuse(veth.error());
  if (auto same = compare_with_result(*veth, *previous); !same) return refuse(same.error());
  return PodAttachment{config_.network, env_.container_id, env_.ifname, env_.netns, *veth, previous->addresses, *pod};
}

Outcome<> Run::add() {
  const auto pod = attachment();
  if (!pod) return refuse(pod.error());
  if (auto filtered = host_.filter_bridge(pod->veth); !filtered) return filtered;
  const std::string request = attachment_request("cni.add", *pod, config_.deadline);
  const bool may_deny = config_.on_agent_unavailable == WhenUnavailable::deny;
  auto acknowledged = ask(request, config_.deadline, may_deny ? IfAbsent::give_up : IfAbsent::wait);
  if (acknowledged) {
    if (auto lifted = lift(); !lifted) {
      return refuse(Code::try_again, "the pod's rules are in force, but the closure before them stays",
                    lifted.error().what());
    }
  } else if (may_deny && acknowledged.error().code() == Code::try_again) {
    acknowledged = deny(request, pod->veth, acknowledged.error());
  }
  if (!acknowledged) return acknowledged;
  out_ << result_as(*config_.prev_result, config_.cni_version);
  return {};
}

/// The pod starts with its interface closed. First the journal, so that nothing is closed that no one knows of: the
/// agent opens it when it has taken the pod over, DEL when the pod goes before.
Outcome<> Run::deny(const std::string& request, const Veth& veth, const Failure& why) {
  auto done = host_.write_journal(config_.state_dir, entry(), request);
  if (done) done = host_.close_device(veth.name);
  if (!done) {
    return refuse(Code::try_again, why.msg() + "; and the pod's interface cannot be closed meanwhile",
                  why.details() + "; " + done.error().what());
  }
  err_ << "podfence-cni: " << veth.name << " is closed until the agent takes the pod over: " << why.msg() << '\n';
  return {};
}

/// Undoes what deny() did for this attachment, if it did.
Result<void> Run::lift() {
  const auto line = host_.read_journal(config_.state_dir, entry());
  if (!line) return {};
  if (const auto device = host_interface_of(*line)) {
    if (auto lifted = host_.lift_closure(*device); !lifted) return lifted;
  }
  host_.erase_journal(config_.state_dir, entry());
  return {};
}

/// From the container id and the interface name alone. The agent may be away: an error would stop the chain before it
/// has freed the addresses, so the journal remembers. Only when that fails too is there something to try again.
Outcome<> Run::del() {
  if (env_.container_id.size() > longest_container_id) return {};
  if (auto lifted = lift(); !lifted) err_ << "podfence-cni: " << lifted.error().what() << '\n';
  const std::string request = del_request(config_.network, {env_.container_id, env_.ifname});
  const auto limit = std::min(config_.deadline, del_limit);
  const auto done = ask(request, limit, IfAbsent::give_up);
  if (done) return {};
  err_ << "podfence-cni: DEL goes to the journal: " << done.error().msg() << ": " << done.error().details() << '\n';
  if (auto written = host_.write_journal(config_.state_dir, entry(), request); !written) {
    return refuse(Code::try_again, done.error().msg() + "; nor can the journal be written", written.error().what());
  }
  return {};
}

Outcome<> Run::check() {
  if (auto allowed = needs_version("0.4.0", "CHECK"); !allowed) return allowed;
  const auto pod = attachment();
  if (!pod) return refuse(pod.error());
  if (auto filtered = host_.check_bridge(pod->veth); !filtered) return filtered;
  return ask(attachment_request("cni.check", *pod, config_.deadline), config_.deadline, IfAbsent::give_up);
}

Outcome<> Run::gc() {
  if (auto allowed = needs_version("1.1.0", "GC"); !allowed) return allowed;
  if (!config_.valid_attachments) return {};
  return ask(gc_request(config_.network, *config_.valid_attachments), config_.deadline, IfAbsent::give_up);
}

Outcome<> Run::status() {
  if (auto allowed = needs_version("1.1.0", "STATUS"); !allowed) return allowed;
  const auto answer = agent_.ask(config_.socket, status_request(), status_limit, IfAbsent::give_up);
  if (!answer) {
    const auto rules = host_.rules_present();
    const bool lost = rules && !*rules;
    return refuse(lost ? Code::not_available_and_limited : Code::not_available,
                  lost ? "the podfence agent is away and its rules are not in the kernel"
                       : "the podfence agent is away: no pod can be started, running ones keep their rules",
                  answer.error().what());
  }
  auto said = read_answer(*answer);
  if (said || said.error().code() == Code::not_available || said.error().code() == Code::not_available_and_limited) {
    return said;
  }
  return refuse(Code::not_available, said.error().msg(), said.error().details());
}

void print_versions(std::ostream& out) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("cniVersion", supported_versions().back()).key("supportedVersions").begin_array();
  for (const std::string& version : supported_versions()) json.value(version);
  json.end_array().end_object();
  out << text;
}

void print_about(std::ostream& err) {
  err << "CNI plugin podfence-cni: network policy for the pods of a chain\nCNI protocol versions supported: ";
  const auto& versions = supported_versions();
  for (std::size_t i = 0; i < versions.size(); ++i) err << (i == 0 ? "" : ", ") << versions[i];
  err << '\n';
}

void print_failure(std::ostream& out, const Failure& failure, const std::string& version) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("cniVersion", version).field("code", static_cast<std::uint32_t>(failure.code()));
  json.field("msg", failure.msg());
  if (!failure.details().empty()) json.field("details", failure.details());
  json.end_object();
  out << text;
}

Outcome<std::string> read_all(std::istream& in) {
  std::string text;
  std::array<char, 4096> buffer;
  while (in.read(buffer.data(), buffer.size()) || in.gcount() > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > longest_input) return refuse(Code::io_failure, "the configuration is longer than 4 MiB");
  }
  if (in.bad()) return refuse(Code::io_failure, "cannot read the configuration from standard input");
  return text;
}

Outcome<> dispatch(Command command, Run& run) {
  switch (command) {
    case Command::add:
      return run.add();
    case Command::del:
      return run.del();
    case Command::check:
      return run.check();
    case Command::gc:
      return run.gc();
    case Command::status:
      return run.status();
    case Command::version:
      break;
  }
  return {};
}

void log(Host& host, const Env& env, const Config& config, const Outcome<>& outcome) {
  if (config.log_file.empty()) return;
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("command", env.command).field("network", config.network);
  json.field("container_id", env.container_id).field("ifname", env.ifname).field("ok", outcome.has_value());
  if (!outcome) {
    json.field("code", static_cast<std::uint32_t>(outcome.error().code())).field("msg", outcome.error().msg());
    json.field("details", outcome.error().details());
  }
  json.end_object();
  host.log(config.log_file, text);
}

/// `version` becomes the one to answer in as soon as it is known.
Outcome<> execute(const Env& env, std::istream& in, std::ostream& out, std::ostream& err, Agent& agent, Host& host,
                  std::string& version) {
  const auto command = command_of(env);
  if (!command) return refuse(command.error());
  if (*command == Command::version) {
    print_versions(out);
    return {};
  }
  if (auto present = check_present(env, *command); !present) return present;
  const auto text = read_all(in);
  if (!text) return refuse(text.error());
  const auto config = read_config(*text);
  if (!config) return refuse(config.error());
  version = config->cni_version;
  if (auto good = check_names(env, *command); !good) return good;
  Run run(env, *config, out, err, agent, host);
  auto outcome = dispatch(*command, run);
  log(host, env, *config, outcome);
  return outcome;
}

}  // namespace

int run(const Env& env, std::istream& in, std::ostream& out, std::ostream& err, Agent& agent, Host& host) {
  if (env.command.empty()) {
    print_about(err);
    return 0;
  }
  std::string version = supported_versions().back();
  Outcome<> outcome;
  try {
    outcome = execute(env, in, out, err, agent, host, version);
  } catch (const std::exception& e) {
    outcome = refuse(Code::internal, "podfence-cni failed", e.what());
  }
  if (!outcome) print_failure(out, outcome.error(), version);
  out.flush();
  if (outcome && !out) err << "podfence-cni: cannot write the result\n";
  return outcome && out ? 0 : 1;
}

}  // namespace podfence::cni
