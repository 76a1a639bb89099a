#include "enforcer/agent/exposition.h"

#include <fmt/format.h>

namespace podfence::agent {
namespace {

/// As the format wants it between quotes; what is no text becomes '?', so that a page is valid UTF-8 whatever it names.
void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += byte < 0x20 || byte >= 0x7f ? '?' : c;
    }
  }
}

}  // namespace

Exposition& Exposition::family(std::string_view name, std::string_view help, std::string_view type) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  return *this;
}

Exposition& Exposition::line(std::string_view suffix, Labels labels, std::string_view value) {
  text_.append(name_).append(suffix);
  if (labels.size() != 0) {
    char before = '{';
    for (const auto& [name, label] : labels) {
      text_ += before;
      text_.append(name).append("=\"");
      append_escaped(text_, label);
      text_ += '"';
      before = ',';
    }
    text_ += '}';
  }
  text_.append(" ").append(value).append("\n");
  return *this;
}

Exposition& Exposition::sample(std::uint64_t value, Labels labels) {
  return line("", labels, std::to_string(value));
}

Exposition& Exposition::sample(double value, Labels labels) {
  return line("", labels, fmt::format("{}", value));
}

Exposition& Exposition::histogram(std::string_view name, std::string_view help, const DurationHistogram& values) {
  family(name, help, "histogram");
  const auto& bounds = values.bounds();
  const auto& counts = values.counts();
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    count += counts.at(i);
    line("_bucket", {{"le", fmt::format("{}", bounds[i])}}, std::to_string(count));
  }
  count += counts.at(bounds.size());
  line("_bucket", {{"le", "+Inf"}}, std::to_string(count));
  line("_sum", {}, fmt::format("{}", values.sum_seconds()));
  return line("_count", {}, std::to_string(count));
}

}  // namespace podfence::agent
