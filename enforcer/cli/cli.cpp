#include "enforcer/cli/cli.h"

#include <CLI/CLI.hpp>
#include <exception>
#include <fstream>
#include <iostream>
#include <sstream>

#include "enforcer/agent/agent.h"
#include "enforcer/agent/control.h"
#include "enforcer/agent/reconciler.h"
#include "enforcer/agent/status.h"
#include "enforcer/agent/version.h"
#include "enforcer/cli/agent_client.h"
#include "enforcer/cli/check.h"
#include "enforcer/cli/config_file.h"
#include "enforcer/cli/explain.h"
#include "enforcer/cli/flows.h"
#include "enforcer/cli/install_cni.h"
#include "enforcer/cli/simulate.h"
#include "enforcer/cli/terminal.h"
#include "enforcer/cli/uninstall.h"
#include "enforcer/kernel/print_kernel.h"
#include "enforcer/source/directory_source.h"

namespace podfence::cli {
namespace {

constexpr int exit_error = 1;

/// What the command line said, one member for each command.
struct Arguments {
  agent::Config agent;
  bool dry_run = false;
  bool no_fail_closed = false;
  bool no_revoke = false;
  bool no_guard = false;
  std::string socket = agent::Config{}.socket;
  std::string output = "text";
  ExplainOptions explain;
  SimulateOptions simulate;
  CheckOptions check;
  std::string report = "text";
  std::string format = "text";
  FlowsOptions flows;
  InstallArguments install;
  UninstallArguments uninstall;
};

Output output_of(const Arguments& a) {
  return a.output == "json" ? Output::json : Output::text;
}

int report_error(const Error& error) {
  std::cerr << "podfence: " << error.what() << '\n';
  return exit_error;
}

agent::ExplainAnswer explain_for_agent(const store::Cluster& cluster, const agent::ExplainRequest& request) {
  ExplainOptions options;
  options.source = request.source;
  options.destination = request.destination;
  options.fail_closed = request.fail_closed;
  options.attached = {request.node, request.attached};
  options.output = request.json ? Output::json : Output::text;
  std::ostringstream out;
  agent::ExplainAnswer answer;
  answer.exit_code = explain_in(cluster, options, out, out);
  answer.output = out.str();
  return answer;
}

/// --dry-run: the agent's own path from the source to the kernel port, with a printer in the kernel's place.
int print_ruleset(const agent::Config& config) {
  if (auto valid = agent::validate(config); !valid) return report_error(valid.error());
  if (agent::is_kubernetes(config)) {
    return report_error(Error(Errc::invalid, "dry-run: prints what a directory says: expected --source dir:PATH"));
  }
  auto source = source::DirectorySource::open(*agent::source_directory(config.source));
  if (!source) return report_error(source.error());
  const auto batch = source->rescan();
  for (const auto& file : source->files()) {
    for (const auto& diagnostic : file.diagnostics) std::cerr << diagnostic.text() << '\n';
  }
  if (!batch.synced) return report_error(Error(Errc::not_found, config.source + ": cannot be read"));
  kernel::PrintKernel printer(std::cout);
  agent::Reconciler reconciler(agent::settings_of(config), printer);
  reconciler.take(batch.events);
  const auto outcome = reconciler.start();
  return outcome.kind == agent::Outcome::Kind::retry ? report_error(Error(Errc::refused, outcome.error)) : 0;
}

int run_agent(Arguments& a) {
  a.agent.fail_closed = !a.no_fail_closed;
  a.agent.revoke_established = !a.no_revoke;
  a.agent.guard_sources = !a.no_guard;
  if (a.dry_run) return print_ruleset(a.agent);
  if (auto done = agent::run(a.agent, explain_for_agent); !done) return report_error(done.error());
  return 0;
}

int run_status(const Arguments& a) {
  const auto json = agent::ask(a.socket, R"({"command":"status"})");
  if (!json) return report_error(json.error());
  const auto text = agent::status_text(*json);  // also finds an error in the answer
  if (!text) return report_error(text.error());
  if (output_of(a) == Output::json) {
    std::cout << *json << '\n';
  } else {
    std::cout << *text;
  }
  return 0;
}

int run_explain(Arguments& a) {
  a.explain.output = output_of(a);
  if (!a.explain.objects.empty()) return explain(a.explain, std::cout, std::cerr);
  return explain_by_agent(a.socket, a.explain, std::cout, std::cerr);
}

int run_simulate(Arguments& a) {
  a.simulate.output = output_of(a);
  return simulate(a.simulate, std::cout, std::cerr);
}

int run_check(Arguments& a) {
  a.check.report = a.report == "json"    ? Report::json
                   : a.report == "sarif" ? Report::sarif
                   : a.report == "junit" ? Report::junit
                                         : Report::text;
  return check(a.check, std::cout, std::cerr);
}

flow::Format format_of(const std::string& name) {
  if (name == "native" || name == "json") return flow::Format::native;
  if (name == "hubble") return flow::Format::hubble;
  if (name == "gke") return flow::Format::gke;
  return name == "ecs" ? flow::Format::ecs : flow::Format::text;
}

int run_flows(Arguments& a) {
  a.flows.format = format_of(a.format);
  a.flows.width = output_width();
  a.flows.socket = a.socket;
  return flows(a.flows, std::cout, std::cerr);
}

void add_output(CLI::App& command, Arguments& a) {
  command.add_option("-o,--output", a.output, "text or json")->check(CLI::IsMember({"text", "json"}));
}

void add_socket(CLI::App& command, Arguments& a) {
  command.add_option("--socket", a.socket, "The agent's socket")->capture_default_str();
}

void add_objects(CLI::App& c, agent::Config& config) {
  c.add_option("--source", config.source, "Where objects come from: dir:PATH or kubernetes")->required();
  c.add_option("--kubeconfig", config.kubeconfig,
               "For kubernetes: how to reach the API server (default: KUBECONFIG, or the pod's service account)");
  c.add_option("--context", config.context, "Of the kubeconfig (default: its current-context)");
  c.add_option("--audit-seconds", config.audit_seconds,
               "Ask the API server that often, up to twice that, how many objects it has")
      ->capture_default_str();
  c.add_option("--watch", config.watch,
               "Pods of whom the API server sends: cluster = all; needed = this node's and those of namespaces that a "
               "policy of its pods can name; auto = needed in clusters of more than 100 nodes")
      ->capture_default_str();
  c.add_option("--watch-linger-seconds", config.watch_linger_seconds,
               "How long a watch stays that is not needed any more")
      ->capture_default_str();
}

void add_node(CLI::App& c, agent::Config& config) {
  c.add_option("--node", config.node, "This node's name, as in spec.nodeName of its pods")->required();
  c.add_option("--cluster", config.cluster, "A name of the cluster, for flow records");
  c.add_option("--socket", config.socket, "Where status and explain ask; in a directory of mode 0700")
      ->capture_default_str();
  c.add_option("--state-dir", config.state_dir, "What must survive a restart")->capture_default_str();
  c.add_option("--checkpoint", config.checkpoint,
               "For kubernetes: file of the last good world, enforced before the API server answers; none = no file "
               "(default: checkpoint in the state directory)");
  c.add_option("--cni-results", config.cni_results, "The runtime's cache of plugin results; empty = not read")
      ->capture_default_str();
  c.add_flag("--cni", config.cni, "podfence-cni is in the chain: status names local pods that it did not see");
  c.add_option("--http-address", config.http_address,
               "Where /metrics, /livez, /readyz and /statusz are; empty = nowhere")
      ->capture_default_str();
}

void add_records(CLI::App& c, agent::Config& config) {
  c.add_option("--flow-log", config.flow_log, "File for records of denied flows; - = standard output")
      ->capture_default_str();
  c.add_option("--flow-log-file-mb", config.flow_log_file_mb, "The file is rotated when it is that large")
      ->capture_default_str();
  c.add_option("--flow-log-total-mb", config.flow_log_total_mb,
               "It and the rotated files take no more than that: the oldest are deleted")
      ->capture_default_str();
  c.add_option("--flow-labels", config.flow_labels,
               "Keys of pods' labels that records hold, as app,tier; at most 8 (default: none)");
  c.add_option("--otlp", config.otlp, "Sends flow records to this OTLP/HTTP receiver too: http://HOST:4318/v1/logs");
  c.add_option("--syslog", config.syslog, "And to this syslog receiver: udp://HOST, tcp://HOST or unix:/PATH");
  c.add_flag("--journald", config.journald, "And to this machine's journal");
  c.add_flag("--flow-events", config.flow_events,
             "And tells of them in Kubernetes Events on the pods that denied, at most one a second");
  c.add_option("--otlp-headers", config.otlp_headers, "File of \"Name: value\" lines for it, as credentials");
  c.add_option("--otlp-ca", config.otlp_ca, "File of certificates to verify it by (default: the system's)");
  c.add_option("--log-group", config.program.log_group, "NFLOG group")->capture_default_str();
  c.add_option("--observe-log-group", config.observe.log_group,
               "NFLOG group of allowed flows, in namespaces with the label podfence.io/observe: \"true\"")
      ->capture_default_str();
  c.add_option("--log-source-rate", config.program.log_source_rate, "Logged packets a second for each source")
      ->capture_default_str();
  c.add_option("--log-node-rate", config.program.log_node_rate, "Logged packets a second in all")
      ->capture_default_str();
}

void add_enforcement(CLI::App& c, Arguments& a) {
  auto& config = a.agent;
  c.add_option("--label-bit", config.program.label_bit, "Conntrack label bit of allowed flows, 0-127")
      ->capture_default_str();
  c.add_option("--verify-seconds", config.verify_seconds, "Read the kernel back that often")->capture_default_str();
  c.add_flag("--no-fail-closed", a.no_fail_closed,
             "Let addresses of this node's pod ranges pass that no known pod owns");
  c.add_flag("--no-revoke-established", a.no_revoke, "Do not cut established flows that a new policy forbids");
  c.add_flag("--own-table", config.own_table,
             "Own the nftables table, so that nobody else can change it (kernel 6.9; nft before 1.1 lists it badly)");
  c.add_flag("--no-source-guard", a.no_guard, "Do not drop packets from a pod's interface with a foreign source");
}

void add_agent(CLI::App& app, Arguments& a) {
  auto& c = *app.add_subcommand("agent", "Enforces the policies for this node's pods");
  add_objects(c, a.agent);
  add_node(c, a.agent);
  add_records(c, a.agent);
  add_enforcement(c, a);
  c.add_flag("--dry-run", a.dry_run, "Print the ruleset for what the source holds now, and stop")->configurable(false);
  // CLI11 reads a configuration file for the program only, not for a command of it.
  app.set_config("--config", "", "YAML file with the agent's options as keys (podfence agent --config FILE)");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.config_formatter(std::make_shared<YamlConfig>("agent"));
  c.fallthrough();
  c.footer(
      "--config FILE reads these options from a YAML file; what the command line says wins.\n"
      "Example: podfence agent --source dir:/etc/podfence/objects --node node-1");
}

void add_questions(CLI::App& app, Arguments& a) {
  auto& status = *app.add_subcommand("status", "What is enforced, what is not and why, and what was lost");
  add_socket(status, a);
  add_output(status, a);
  status.footer("Example: podfence status -o json");

  auto& explain = *app.add_subcommand("explain", "Would this flow pass, and who says so; exit code 2 = denied");
  explain.add_option("SRC", a.explain.source, "namespace/pod or an address")->required();
  explain.add_option("DST", a.explain.destination, "namespace/pod or an address, then [:PORT][/PROTOCOL]")->required();
  explain.add_option("--objects", a.explain.objects,
                     "Answer from the manifests below this directory, without an agent");
  add_socket(explain, a);
  add_output(explain, a);
  explain.footer("Example: podfence explain shop/web shop/db:5432/TCP");

  auto& simulate = *app.add_subcommand("simulate",
                                       "Verdicts from the compiled program and from the reference evaluator; "
                                       "exit code 2 = they differ");
  simulate.add_option("--objects", a.simulate.objects, "Directory with manifests")->required();
  simulate.add_option("--flows", a.simulate.flows,
                      "YAML or JSON list of {from, to, port, protocol}; without it every pair");
  add_output(simulate, a);
  simulate.footer("Example: podfence simulate --objects manifests/ --flows flows.yaml -o json");

  auto& check = *app.add_subcommand("check", "Validates manifests; exit code 2 = there are errors");
  check.add_option("PATH", a.check.paths, "Directories or files")->required();
  check.add_option("-o,--output", a.report, "text, json, sarif or junit")
      ->check(CLI::IsMember({"text", "json", "sarif", "junit"}));
  check.footer("Example: podfence check manifests/ -o sarif");
}

/// An option that may be given again, with one value each time.
void add_filter(CLI::App& command, const std::string& name, std::vector<std::string>& values, const std::string& help) {
  command.add_option(name, values, help)->allow_extra_args(false)->take_all();
}

void add_flows(CLI::App& app, Arguments& a) {
  auto& flows = *app.add_subcommand("flows", "Records of denied flows; exit code 2 = none matches");
  auto* follow = flows.add_flag("-f,--follow", a.flows.follow, "Go on with new records as they come");
  add_filter(flows, "--from", a.flows.from,
             "Source: namespace/pod, namespace/workload, namespace/, label=value, address or CIDR");
  add_filter(flows, "--to", a.flows.to, "Destination, likewise");
  add_filter(flows, "--port", a.flows.port, "Destination port: number, or name of the pod's port");
  add_filter(flows, "--verdict", a.flows.verdict,
             "deny, error, would_allow, would_deny; or allow: flows of observed pods");
  flows.add_flag("--deny", a.flows.deny, "As --verdict deny");
  add_filter(flows, "--reason", a.flows.reason, "default_deny, fail_closed, spoofed_source, ...");
  add_filter(flows, "--policy", a.flows.policy, "One of the policies named: namespace/name, namespace/ or name");
  flows.add_option("--since", a.flows.since, "Last packet not before: 90s, 5m, 2h, 7d ago, or an RFC 3339 time");
  flows.add_option("--until", a.flows.until, "First packet not after, likewise")->excludes(follow);
  flows.add_option("--last", a.flows.last, "Only that many of the newest records that match")
      ->check(CLI::Range(0, 100'000));
  flows.add_option("--file", a.flows.file, "Read this flow log; without it the agent's");
  add_socket(flows, a);
  flows.add_option("-o,--format,--output", a.format, "text, native or json (as written), hubble, gke or ecs")
      ->check(CLI::IsMember({"text", "native", "json", "hubble", "gke", "ecs"}));
  flows.footer(
      "Every filter that is given must hold; of one that is given more than once, one of its values. A value with a\n"
      "leading ! excludes: --from shop/ --from '!shop/web' is the namespace without that pod or workload. What a "
      "record\n"
      "does not say is never excluded. Records hold the labels of pods that the agent was told of (--flow-labels):\n"
      "--from app=web,tier=db has both. Losses are shown whatever is asked for except the time: what was lost may be\n"
      "what was looked for.\n"
      "Text fits the terminal; written elsewhere it says everything.\n"
      "Example: podfence flows -f --to shop/ --from '!monitoring/' --since 5m");
}

int dispatch(const CLI::App& app, Arguments& a) {
  if (app.got_subcommand("agent")) return run_agent(a);
  if (app.got_subcommand("status")) return run_status(a);
  if (app.got_subcommand("explain")) return run_explain(a);
  if (app.got_subcommand("simulate")) return run_simulate(a);
  if (app.got_subcommand("check")) return run_check(a);
  if (app.got_subcommand("install-cni")) return run_install(a.install, std::cout, std::cerr);
  if (app.got_subcommand("uninstall-cni")) return run_uninstall(a.install, std::cout, std::cerr);
  if (app.got_subcommand("uninstall")) return run_node_uninstall(a.uninstall, std::cout, std::cerr);
  return run_flows(a);
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App app("Network microsegmentation for containers: policies into nftables, denied flows into a log.",
               "podfence");
  app.set_version_flag("--version", std::string("podfence ") + agent::version);
  app.require_subcommand(1);
  app.footer("Exit codes: 0 = yes or fine, 1 = error, 2 = the answer is no.");
  Arguments arguments;
  add_agent(app, arguments);
  add_questions(app, arguments);
  add_flows(app, arguments);
  add_install(app, arguments.install);
  add_node_uninstall(app, arguments.uninstall);
  try {
    app.parse(argc, argv);
    return dispatch(app, arguments);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : exit_error;
  } catch (const std::exception& e) {
    std::cerr << "podfence: " << e.what() << '\n';
    return exit_error;
  }
}

}  // namespace podfence::cli
