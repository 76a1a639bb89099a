#include "enforcer/cli/flows.h"

#include <chrono>
#include <ostream>
#include <thread>

#include "enforcer/cli/agent_client.h"
#include "enforcer/flow/filter.h"
#include "enforcer/flow/reader.h"
#include "enforcer/flow/time.h"

namespace podfence::cli {
namespace {

constexpr std::chrono::milliseconds poll_interval{200};

/// The values of one option into what is wanted; `parse` reads one without its '!'.
template <class T, class Parse>
Result<> read_values(std::string_view option, const std::vector<std::string>& texts, Parse parse,
                     flow::Wanted<T>& wanted) {
  for (const std::string& text : texts) {
    const bool excludes = text.starts_with('!');
    auto value = parse(std::string_view(text).substr(excludes ? 1 : 0));
    if (!value) return fail(std::move(value.error()).in(option));
    (excludes ? wanted.none : wanted.any).push_back(*std::move(value));
  }
  return {};
}

Result<> read_time(std::string_view option, const std::string& text, std::optional<flow::TimePoint>& time) {
  if (text.empty()) return {};
  auto parsed = flow::parse_since(text, std::chrono::system_clock::now());
  if (!parsed) return fail(std::move(parsed.error()).in(option));
  time = *parsed;
  return {};
}

Result<flow::Filter> filter_of(const FlowsOptions& options) {
  flow::Filter filter;
  auto read = read_values("--from", options.from, flow::parse_endpoint_filter, filter.from);
  if (read) read = read_values("--to", options.to, flow::parse_endpoint_filter, filter.to);
  if (read) read = read_values("--port", options.port, flow::parse_port_filter, filter.port);
  if (read) read = read_values("--verdict", options.verdict, flow::parse_verdict, filter.verdict);
  if (read) read = read_values("--reason", options.reason, flow::parse_reason, filter.reason);
  if (read) read = read_values("--policy", options.policy, flow::parse_policy_filter, filter.policy);
  if (read) read = read_time("--since", options.since, filter.since);
  if (read) read = read_time("--until", options.until, filter.until);
  if (!read) return fail(read.error());
  if (options.deny) filter.verdict.any.emplace_back("deny");
  if (filter.since && filter.until && *filter.until < *filter.since) {
    return fail(Errc::invalid, "--until: is before --since");
  }
  return filter;
}

/// Prints what matches, and keeps what the answer is made of.
class Printer {
 public:
  Printer(const FlowsOptions& options, const flow::Filter& filter, std::ostream& out)
      : options_(options), narrows_(filter.narrows()), out_(out) {}

  bool print(const flow::LoggedLine& line, std::string_view json) {
    if (line.type == "loss") lost_ += line.lost;
    if (line.type != "loss" || !narrows_) ++matched_;
    if (const auto text = flow::formatted(options_.format, line, json, options_.width)) {
      out_ << *text << '\n';
    } else {
      ++unsaid_;
    }
    return out_.good();
  }

  bool matched() const { return matched_ > 0; }
  /// Records that the format has no word for.
  std::uint64_t unsaid() const { return unsaid_; }
  std::uint64_t lost() const { return lost_; }

 private:
  const FlowsOptions& options_;
  bool narrows_;
  std::ostream& out_;
  std::uint64_t matched_ = 0;
  std::uint64_t unsaid_ = 0;
  std::uint64_t lost_ = 0;
};

bool names(std::string_view keys, const std::string& key) {
  return (',' + std::string(keys) + ',').find(',' + key + ',') != std::string::npos;
}

/// An answer by labels that no record holds would say "none was denied" where it has to say "not known".
Result<> can_hold(const flow::Filter& filter, std::string_view keys) {
  for (const auto& key : filter.label_keys()) {
    if (names(keys, key)) continue;
    return fail(Errc::invalid, "label " + key + ": the agent writes " +
                                   (keys.empty() ? "no labels" : "only the labels ") + std::string(keys) +
                                   " into flow records; see its option --flow-labels");
  }
  return {};
}

/// The same of a file, once it has been read.
Result<> has_held(const flow::Reader& reader, const std::string& path, std::ostream& err) {
  if (reader.unseen_labels().empty() && reader.unlabelled() > 0) {
    err << "podfence: records that were written without labels, and match no filter by label: " << reader.unlabelled()
        << '\n';
  }
  if (reader.unseen_labels().empty()) return {};
  return fail(Errc::invalid, path + ": no record holds a label " + *reader.unseen_labels().begin() +
                                 ", so a filter by it says nothing; see the agent's option --flow-labels");
}

Result<int> show(const FlowsOptions& options, std::ostream& out, std::ostream& err) {
  const auto filter = filter_of(options);
  if (!filter) return fail(filter.error());
  const bool allowed = filter->verdict.any == std::vector<std::string>{"allow"};
  std::string path = options.file;
  if (path.empty()) {
    auto log = flow_log_of_agent(options.socket, allowed);
    if (!log) return fail(log.error());
    if (auto can = can_hold(*filter, log->labels); !can) return fail(can.error());
    path = std::move(log->path);
  }
  const auto reader = flow::Reader::open(path, *filter);
  if (!reader) return fail(reader.error());
  Printer printer(options, *filter, out);
  const auto print = [&](const flow::LoggedLine& line, std::string_view json) { return printer.print(line, json); };
  auto read = options.last ? (*reader)->last(*options.last, print) : (*reader)->past(print);
  if (read && !options.file.empty()) {
    if (auto held = has_held(**reader, path, err); !held) return fail(held.error());
  }
  while (read && options.follow && out.flush()) {
    read = (*reader)->poll(print);
    std::this_thread::sleep_for(poll_interval);
  }
  if (!read) return fail(read.error());
  if ((*reader)->foreign() > 0) {
    err << "podfence: " << path << ": lines that are no records of podfence.flow/v1: " << (*reader)->foreign() << '\n';
  }
  if (printer.unsaid() > 0) err << "podfence: records that this format cannot express: " << printer.unsaid() << '\n';
  if (options.format == flow::Format::gke && printer.lost() > 0) {
    err << "podfence: denied packets that are in no record: " << printer.lost() << '\n';
  }
  if (printer.matched() || options.follow) return 0;
  err << "podfence: no record matches";
  if (printer.lost() > 0) err << ", but " << printer.lost() << " denied packets are in no record";
  err << '\n';
  return 2;
}

}  // namespace

int flows(const FlowsOptions& options, std::ostream& out, std::ostream& err) {
  const auto code = show(options, out, err);
  if (code) return *code;
  err << "podfence: " << code.error().what() << '\n';
  return 1;
}

}  // namespace podfence::cli
