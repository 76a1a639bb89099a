#pragma once
// Writes the Prometheus text exposition format 0.0.4: a HELP and a TYPE line for each family, then its samples. Names
// are the caller's and must be valid; label values may hold anything, also what is not UTF-8.
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "policy/base/duration_histogram.h"

namespace podfence::agent {

class Exposition {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  Exposition& counter(std::string_view name, std::string_view help) { return family(name, help, "counter"); }
  Exposition& gauge(std::string_view name, std::string_view help) { return family(name, help, "gauge"); }

  /// A sample of the family that was begun last.
  Exposition& sample(std::uint64_t value, Labels labels = {});
  Exposition& sample(double value, Labels labels = {});

  /// A family of its own.
  Exposition& histogram(std::string_view name, std::string_view help, const DurationHistogram& values);

  const std::string& text() const { return text_; }

 private:
  Exposition& family(std::string_view name, std::string_view help, std::string_view type);
  Exposition& line(std::string_view suffix, Labels labels, std::string_view value);

  std::string text_;
  std::string name_;
};

}  // namespace podfence::agent
