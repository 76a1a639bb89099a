#include "enforcer/agent/requests.h"

#include <simdjson.h>

namespace podfence::agent {
namespace {

using simdjson::SUCCESS;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

template <class Map>
auto* found_in(const Map& map, std::string_view name) {
  const auto at = map.find(name);
  return at == map.end() ? nullptr : &at->second;
}

bool read_texts(array list, Request::Texts& texts) {
  for (const auto item : list) {
    std::string_view text;
    if (item.get(text) != SUCCESS) return false;
    texts.emplace_back(text);
  }
  return true;
}

bool read_objects(array list, Request::Objects& objects) {
  for (const auto item : list) {
    object fields;
    if (item.get(fields) != SUCCESS) return false;
    auto& into = objects.emplace_back();
    for (const auto field : fields) {
      std::string_view text;
      if (field.value.get(text) != SUCCESS) return false;
      into[std::string(field.key)] = text;
    }
  }
  return true;
}

bool read_list(Request& request, const std::string& name, array list) {
  Request::Texts texts;
  Request::Objects objects;
  const bool all_texts = read_texts(list, texts);
  const bool all_objects = read_objects(list, objects);
  if (all_texts) request.lists[name] = std::move(texts);
  if (all_objects) request.objects[name] = std::move(objects);
  return all_texts || all_objects;
}

bool read_field(Request& request, const std::string& name, element value) {
  std::string_view text;
  bool flag = false;
  std::int64_t number = 0;
  array list;
  if (value.get(text) == SUCCESS) {
    request.texts[name] = text;
  } else if (value.get(flag) == SUCCESS) {
    request.flags[name] = flag;
  } else if (value.get(number) == SUCCESS) {
    request.numbers[name] = number;
  } else {
    return value.get(list) == SUCCESS && read_list(request, name, list);
  }
  return true;
}

bool has_field(const Request& request, const std::string& name) {
  return request.texts.count(name) + request.flags.count(name) + request.numbers.count(name) +
             request.lists.count(name) + request.objects.count(name) !=
         0;
}

}  // namespace

std::string Request::text(std::string_view name) const {
  const auto* found = found_in(texts, name);
  return found == nullptr ? std::string() : *found;
}

bool Request::flag(std::string_view name) const {
  const auto* found = found_in(flags, name);
  return found != nullptr && *found;
}

std::optional<std::int64_t> Request::number(std::string_view name) const {
  const auto* found = found_in(numbers, name);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

const Request::Texts* Request::list(std::string_view name) const {
  return found_in(lists, name);
}

const Request::Objects* Request::object_list(std::string_view name) const {
  return found_in(objects, name);
}

Result<Request> parse_request(std::string_view json) {
  simdjson::dom::parser parser;
  object fields;
  const simdjson::padded_string padded(json);
  if (const auto error = parser.parse(padded).get(fields)) {
    return fail(Errc::invalid, std::string("the request is no JSON object: ") + simdjson::error_message(error));
  }
  Request request;
  for (const auto field : fields) {
    const std::string name(field.key);
    if (has_field(request, name)) return fail(Errc::invalid, "request field '" + name + "' is there twice");
    if (!read_field(request, name, field.value)) {
      return fail(Errc::invalid, "request field '" + name +
                                     "': expected a text, a boolean, a whole number, or a list of texts or of objects");
    }
  }
  request.command = request.text("command");
  if (request.command.empty())
    return fail(Errc::invalid, "request field 'command': expected a text that says what to do");
  return request;
}

}  // namespace podfence::agent
