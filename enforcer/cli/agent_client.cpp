#include "enforcer/cli/agent_client.h"

#include <simdjson.h>

#include <ostream>

#include "enforcer/agent/control.h"
#include "policy/base/json_writer.h"

namespace podfence::cli {
namespace {

/// The agent's answer as an object; what it answered as an error becomes one.
Result<simdjson::dom::object> object_of(simdjson::dom::parser& parser, const std::string& json) {
  simdjson::dom::object object;
  if (parser.parse(json).get(object) != simdjson::SUCCESS)
    return fail(Errc::invalid, "the agent's answer is no JSON object");
  std::string_view error;
  if (object["error"].get(error) == simdjson::SUCCESS) return fail(Errc::refused, std::string(error));
  return object;
}

}  // namespace

int explain_by_agent(const std::string& socket, const ExplainOptions& options, std::ostream& out, std::ostream& err) {
  std::string request;
  JsonWriter json(request);
  json.begin_object().field("command", "explain").field("source", options.source);
  json.field("destination", options.destination).field("json", options.output == Output::json).end_object();
  const auto answer = agent::ask(socket, request);
  simdjson::dom::parser parser;
  const auto object = answer ? object_of(parser, *answer) : fail(answer.error());
  if (!object) {
    err << "podfence: " << object.error().what() << '\n';
    return 1;
  }
  std::int64_t exit_code = 1;
  std::string_view text;
  if ((*object)["exit_code"].get(exit_code) != simdjson::SUCCESS ||
      (*object)["output"].get(text) != simdjson::SUCCESS) {
    err << "podfence: the agent's answer has no exit_code or output\n";
    return 1;
  }
  (exit_code == 1 ? err : out) << text;
  return static_cast<int>(exit_code);
}

Result<FlowLogOfAgent> flow_log_of_agent(const std::string& socket, bool allowed) {
  const auto answer = agent::ask(socket, R"({"command":"flow_log"})");
  if (!answer) return fail(answer.error());
  simdjson::dom::parser parser;
  const auto object = object_of(parser, *answer);
  if (!object) return fail(object.error());
  std::string_view path;
  if ((*object)[allowed ? "allowed" : "path"].get(path) != simdjson::SUCCESS || path.empty() || path == "-") {
    return fail(Errc::not_found, "the agent writes no flow log to a file; see --flow-log");
  }
  std::string_view labels;
  if ((*object)["labels"].get(labels) != simdjson::SUCCESS) labels = {};
  return FlowLogOfAgent{std::string(path), std::string(labels)};
}

}  // namespace podfence::cli
