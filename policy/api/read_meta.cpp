#include <algorithm>

#include "policy/api/parts.h"
#include "policy/api/syntax.h"

namespace podfence::api {
namespace {

/// Good enough to be a key, to stand in a log and in a comment, even if the API server would not take it.
bool is_usable_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
}

/// A label that is no string is dropped; one with a value that the API server would refuse is kept, since a pod that
/// lost a label might escape a policy.
Labels read_labels(Report& report, const Value& labels) {
  if (!report.object(labels)) return {};
  std::vector<std::pair<std::string, std::string>> out;
  labels.each_field([&](std::string_view key, const Value& value) {
    if (!value.is_string()) {
      report.error(value, value.shown() + " is not a label's value: expected a string (write it in quotes)");
      return;
    }
    if (!is_label_key(key)) report.error(value, quote(key) + " is not a label's key: expected [prefix/]name");
    if (!is_label_value(value.string())) {
      report.error(value,
                   value.shown() + " is not a label's value: expected at most 63 letters, digits, '-', '_', '.'");
    }
    out.emplace_back(key, value.string());
  });
  std::sort(out.begin(), out.end());
  out.shrink_to_fit();
  return out;
}

bool read_name(Report& report, const Value& meta, Text& name) {
  const Value value = meta.get("name");
  if (!value.given()) report.error(value, "a name is required");
  if (!report.string(value)) return false;
  name = value.string();
  if (!is_usable_name(name)) {
    report.error(value, value.shown() + " is not a name: expected a lower-case DNS name");
    return false;
  }
  if (!is_dns_subdomain(name)) report.error(value, value.shown() + " is not a name: expected a lower-case DNS name");
  return true;
}

bool read_namespace_name(Report& report, const Value& meta, Text& namespace_) {
  const Value value = meta.get("namespace");
  if (!value.given() || (value.is_string() && value.string().empty())) {
    report.note(value, "no namespace: taken as \"default\"");
    namespace_ = "default";
    return true;
  }
  if (!report.string(value)) return false;
  namespace_ = value.string();
  if (!is_usable_name(namespace_)) {
    report.error(value, value.shown() + " is not a namespace: expected a lower-case DNS label");
    return false;
  }
  if (!is_dns_label(namespace_)) {
    report.error(value, value.shown() + " is not a namespace: expected a lower-case DNS label");
  }
  return true;
}

std::int64_t read_created(Report& report, const Value& meta) {
  const Value value = meta.get("creationTimestamp");
  if (!report.string(value)) return 0;
  const auto seconds = parse_timestamp(value.string());
  if (!seconds) report.error(value, value.shown() + " is not a time: expected 2024-12-31T23:59:59Z");
  return seconds.value_or(0);
}

}  // namespace

bool read_meta(Report& report, const Value& object, Kind kind, ObjectMeta& meta) {
  const Value value = object.get("metadata");
  if (!value.given()) report.error(value, "metadata with a name is required");
  if (!report.object(value)) return false;
  if (!read_name(report, value, meta.name)) return false;
  if (kind == Kind::pod || kind == Kind::network_policy) {
    if (!read_namespace_name(report, value, meta.namespace_)) return false;
  }
  report.name_object(ObjectKey{kind, meta.namespace_, meta.name}.text());
  const Value uid = value.get("uid");
  if (report.string(uid)) meta.uid = uid.string();
  const Value generation = value.get("generation");
  if (report.integer(generation)) meta.generation = generation.integer();
  meta.labels = read_labels(report, value.get("labels"));
  meta.created = read_created(report, value);
  meta.terminating = value.get("deletionTimestamp").given();
  return true;
}

Fields count_fields(const Value& object, std::initializer_list<std::string_view> known) {
  Fields fields;
  object.each_field([&](std::string_view key, const Value& value) {
    if (std::find(known.begin(), known.end(), key) != known.end()) {
      fields.known += value.given() ? 1 : 0;
    } else if (fields.unknown++ == 0) {
      fields.first_unknown = key;
    }
  });
  return fields;
}

void warn_of_unknown(Report& report, const Value& object, std::initializer_list<std::string_view> known) {
  object.each_field([&](std::string_view key, const Value& value) {
    if (std::find(known.begin(), known.end(), key) == known.end()) report.warning(value, "unknown field, ignored");
  });
}

}  // namespace podfence::api
