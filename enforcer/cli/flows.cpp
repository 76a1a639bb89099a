#include "enforcer/cli/flows.h"

#include <chrono>
#include <ostream>
#include <thread>

#include "enforcer/cli/agent_client.h"
#include "enforcer/flow/filter.h"
#include "enforcer/flow/time.h"

namespace podfence::cli {
namespace {

constexpr std::chrono::milliseconds poll_interval{200};

Result<std::vector<flow::EndpointFilter>> endpoints_of(const std::vector<std::string>& texts, std::string_view option) {
  std::vector<flow::EndpointFilter> filters;
  for (const auto& text : texts) {
    auto parsed = flow::parse_endpoint_filter(text);
    if (!parsed) return fail(std::move(parsed.error()).in(option));
    filters.push_back(std::move(*parsed));
  }
  return filters;
}

Result<flow::Filter> filter_of(const FlowsOptions& options) {
  flow::Filter filter;
  filter.deny = options.deny;
  filter.policy = options.policy;
  if (options.port != 0) filter.port = net::Port{options.port};
  auto from = endpoints_of(options.from, "--from");
  if (!from) return fail(from.error());
  auto to = endpoints_of(options.to, "--to");
  if (!to) return fail(to.error());
  filter.from = std::move(*from);
  filter.to = std::move(*to);
  if (!options.since.empty()) {
    auto since = flow::parse_since(options.since, std::chrono::system_clock::now());
    if (!since) return fail(std::move(since.error()).in("--since"));
    filter.since = *since;
  }
  return filter;
}

Result<> show(const FlowsOptions& options, std::ostream& out) {
  const auto filter = filter_of(options);
  if (!filter) return fail(filter.error());
  const auto path = options.file.empty() ? flow_log_of_agent(options.socket) : Result<std::string>(options.file);
  if (!path) return fail(path.error());
  const auto print = [&](const flow::LoggedLine& line, std::string_view json) {
    if (options.output == Output::json) {
      out << json << '\n';
    } else {
      out << flow::text_line(line) << '\n';
    }
    return out.good();
  };
  flow::Follower follower(*path, *filter);  // before the past is read: what comes meanwhile is not missed
  if (const auto read = flow::read_history(*path, *filter, print); !read) return fail(read.error());
  while (options.follow && out.flush()) {
    if (auto polled = follower.poll([&](const auto& line, auto json) { print(line, json); }); !polled) return polled;
    std::this_thread::sleep_for(poll_interval);
  }
  return {};
}

}  // namespace

int flows(const FlowsOptions& options, std::ostream& out, std::ostream& err) {
  if (auto shown = show(options, out); !shown) {
    err << "podfence: " << shown.error().what() << '\n';
    return 1;
  }
  return 0;
}

}  // namespace podfence::cli
