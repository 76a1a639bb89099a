#pragma once
// YAML documents as JSON text, one at a time, with the line of every value. Limits are checked while the events come;
// aliases, merge keys, keys that are no scalars and tags of other types are refused.
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/decode.h"
#include "policy/api/value.h"

namespace podfence::api {

struct YamlDocument {
  std::string json;
  std::vector<NodeLine> lines;  // one for each value of the JSON text, in its order
};

class YamlReader {
 public:
  /// The text must outlive the reader.
  YamlReader(std::string_view text, const Limits& limits);
  ~YamlReader();
  YamlReader(const YamlReader&) = delete;
  YamlReader& operator=(const YamlReader&) = delete;

  /// Fills the next document; false after the last one.
  Result<bool> next(YamlDocument& document);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace podfence::api
