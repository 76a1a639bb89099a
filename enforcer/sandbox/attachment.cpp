#include "enforcer/sandbox/attachment.h"

#include <simdjson.h>

#include <algorithm>
#include <limits>

#include "policy/base/json_writer.h"

namespace podfence::sandbox {
namespace {

constexpr std::size_t longest_container_id = 200;  // with the interface's name and an ending still a file's name
constexpr std::size_t longest_ifname = 15;

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The kubelet's digest of a static pod's manifest: 32 hexadecimal digits. Of the API server they have dashes.
bool is_static_uid(std::string_view uid) {
  constexpr std::size_t digest_digits = 32;
  return uid.size() == digest_digits && std::all_of(uid.begin(), uid.end(), is_letter_or_digit);
}

/// The fields of one JSON object; the first one that is not as expected is kept.
class Fields {
 public:
  explicit Fields(simdjson::dom::object object) : object_(object) {}

  std::string text(const char* name) {
    std::string_view value;
    if (object_[name].get(value) != simdjson::SUCCESS) note(name, "a text");
    return std::string(value);
  }
  std::uint64_t number(const char* name, std::uint64_t most) {
    std::uint64_t value = 0;
    if (object_[name].get(value) != simdjson::SUCCESS || value > most) note(name, "a number");
    return value;
  }
  std::vector<net::IpAddr> addresses(const char* name) {
    std::vector<net::IpAddr> found;
    simdjson::dom::array list;
    if (object_[name].get(list) != simdjson::SUCCESS) {
      note(name, "a list of addresses");
      return found;
    }
    for (const auto item : list) {
      std::string_view value;
      const auto ip = item.get(value) == simdjson::SUCCESS ? net::IpAddr::parse(value) : fail(Errc::invalid, "");
      if (ip) {
        found.push_back(*ip);
      } else {
        note(name, "a list of addresses");
      }
    }
    return found;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  void note(const char* name, const char* expected) {
    if (wrong_.empty()) wrong_ = std::string("field '") + name + "': expected " + expected;
  }

  simdjson::dom::object object_;
  std::string wrong_;
};

}  // namespace

bool is_identifier(std::string_view text) {
  return !text.empty() && is_letter_or_digit(text.front()) && std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-';
  });
}

Result<> validate(const Key& key) {
  if (!is_identifier(key.container_id) || key.container_id.size() > longest_container_id) {
    return fail(Errc::invalid, "container_id: expected letters, digits, '_', '.' and '-', at most 200");
  }
  const auto& name = key.ifname;
  const bool fits =
      !name.empty() && name.size() <= longest_ifname && name != "." && name != ".." &&
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':'; });
  if (!fits) return fail(Errc::invalid, "ifname: expected the name of a network interface");
  return {};
}

Result<Key> parse_key(std::string_view text) {
  const auto at = text.find('@');
  if (at == std::string_view::npos) return fail(Errc::invalid, "expected <container id>@<interface>");
  Key key{std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
  if (auto valid = validate(key); !valid) return fail(valid.error());
  return key;
}

bool belongs_to(const Attachment& a, const api::Pod& pod) {
  if (!names_pod(a) || a.pod_namespace != pod.meta.namespace_ || a.pod_name != pod.meta.name) return false;
  return a.pod_uid.empty() || pod.meta.uid.empty() || a.pod_uid == pod.meta.uid || is_static_uid(a.pod_uid);
}

std::string json_of(const Attachment& a) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("container_id", a.key.container_id).field("ifname", a.key.ifname);
  json.field("network", a.network).field("netns", a.netns).field("host_interface", a.host_interface);
  json.field("host_ifindex", a.host_ifindex).field("bridge", a.bridge).key("addresses").begin_array();
  for (const auto& ip : a.addresses) json.value(ip.text());
  json.end_array().field("pod_namespace", a.pod_namespace).field("pod_name", a.pod_name);
  json.field("pod_uid", a.pod_uid).field("sequence", a.sequence).end_object();
  return out;
}

Result<Attachment> parse_attachment(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  const simdjson::padded_string padded(json);
  if (const auto error = parser.parse(padded).get(object)) {
    return fail(Errc::invalid, std::string("no JSON object: ") + simdjson::error_message(error));
  }
  Fields fields(object);
  Attachment a;
  a.key = {fields.text("container_id"), fields.text("ifname")};
  a.network = fields.text("network");
  a.netns = fields.text("netns");
  a.host_interface = fields.text("host_interface");
  a.host_ifindex = static_cast<std::uint32_t>(fields.number("host_ifindex", std::numeric_limits<std::uint32_t>::max()));
  a.bridge = fields.text("bridge");
  a.addresses = fields.addresses("addresses");
  a.pod_namespace = fields.text("pod_namespace");
  a.pod_name = fields.text("pod_name");
  a.pod_uid = fields.text("pod_uid");
  a.sequence = fields.number("sequence", std::numeric_limits<std::uint64_t>::max());
  if (!fields.wrong().empty()) return fail(Errc::invalid, fields.wrong());
  if (auto valid = validate(a.key); !valid) return fail(valid.error());
  return a;
}

}  // namespace podfence::sandbox
