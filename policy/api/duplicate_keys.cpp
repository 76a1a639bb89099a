#include "policy/api/duplicate_keys.h"

#include <algorithm>
#include <vector>

namespace podfence::api {
namespace {

class DuplicateKeys {
 public:
  std::optional<Error> find(const Value& value) {
    if (value.is_array()) {
      value.each_item([&](const Value& item) { descend(item); });
    } else if (value.is_object()) {
      std::vector<std::string_view> keys;
      value.each_field([&](std::string_view key, const Value& field) {
        keys.push_back(key);
        descend(field);
      });
      std::sort(keys.begin(), keys.end());
      const auto twice = std::adjacent_find(keys.begin(), keys.end());
      if (twice != keys.end() && !found_) found_ = refuse(value, *twice);
    }
    return found_;
  }

 private:
  void descend(const Value& value) {
    if (!found_ && (value.is_array() || value.is_object())) find(value);
  }

  static Error refuse(const Value& value, std::string_view key) {
    std::size_t line = 0;
    value.each_field([&](std::string_view name, const Value& field) {
      if (name == key) line = field.line();  // the last one
    });
    std::string where = line == 0 ? "" : "line " + std::to_string(line) + ": ";
    const std::string path = value.path();
    return {Errc::invalid, where + (path.empty() ? "" : path + ": ") + "the key " + quote(key) + " is there twice"};
  }

  std::optional<Error> found_;
};

}  // namespace

std::optional<Error> find_duplicate_key(const Value& value) {
  return DuplicateKeys().find(value);
}

}  // namespace podfence::api
