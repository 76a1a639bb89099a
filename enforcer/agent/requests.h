#pragma once
// A request on the agent's socket: {"command": "...", ...} with fields that are texts, flags, whole numbers, lists of
// texts, or lists of objects of texts.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/base/result.h"

namespace podfence::agent {

struct Request {
  template <class T>
  using Fields = std::map<std::string, T, std::less<>>;
  using Texts = std::vector<std::string>;
  using Objects = std::vector<Fields<std::string>>;

  std::string command;
  Fields<std::string> texts;
  Fields<bool> flags;
  Fields<std::int64_t> numbers;
  Fields<Texts> lists;
  Fields<Objects> objects;  // an empty list is in both

  /// "" when it was not given.
  std::string text(std::string_view name) const;
  /// false when it was not given.
  bool flag(std::string_view name) const;
  std::optional<std::int64_t> number(std::string_view name) const;
  const Texts* list(std::string_view name) const;
  const Objects* object_list(std::string_view name) const;
};

/// Untrusted input: a field of another type, one that is there twice, or a missing command is an error that names it.
Result<Request> parse_request(std::string_view json);

}  // namespace podfence::agent
