#include "enforcer/agent/requests.h"

#include <simdjson.h>

namespace podfence::agent {

std::string Request::text(std::string_view name) const {
  const auto found = texts.find(name);
  return found == texts.end() ? std::string() : found->second;
}

bool Request::flag(std::string_view name) const {
  const auto found = flags.find(name);
  return found != flags.end() && found->second;
}

Result<Request> parse_request(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  const simdjson::padded_string padded(json);
  if (const auto error = parser.parse(padded).get(object)) {
    return fail(Errc::invalid, std::string("the request is no JSON object: ") + simdjson::error_message(error));
  }
  Request request;
  for (const auto field : object) {
    std::string_view text;
    bool flag = false;
    const std::string name(field.key);
    if (field.value.get(text) == simdjson::SUCCESS) {
      request.texts[name] = text;
    } else if (field.value.get(flag) == simdjson::SUCCESS) {
      request.flags[name] = flag;
    } else {
      return fail(Errc::invalid, "request field '" + name + "': expected a text or a boolean");
    }
  }
  request.command = request.text("command");
  if (request.command.empty()) return fail(Errc::invalid, "request field 'command' is missing");
  return request;
}

}  // namespace podfence::agent
