#include "policy/api/proto_json.h"

#include <optional>
#include <span>
#include <utility>

#include "policy/api/syntax.h"
#include "policy/base/json_writer.h"

namespace podfence::api {
namespace {

enum class Type : std::uint8_t { text, flag, number, message, map, time, int_or_string };

struct Message;
struct Field {
  unsigned number;
  const char* name;
  Type type;
  bool repeated = false;
  const Message* message = nullptr;
};
struct Message {
  std::span<const Field> fields;
  bool closed = false;  // a field that we do not know means something for policy
};

// As generated.proto of Kubernetes 1.36 has them: core/v1, networking/v1, meta/v1.
constexpr Field owner_fields[] = {{1, "kind", Type::text}, {3, "name", Type::text}, {6, "controller", Type::flag}};
constexpr Message owner{owner_fields};
constexpr Field meta_fields[] = {{1, "name", Type::text},
                                 {3, "namespace", Type::text},
                                 {5, "uid", Type::text},
                                 {6, "resourceVersion", Type::text},
                                 {7, "generation", Type::number},
                                 {8, "creationTimestamp", Type::time},
                                 {9, "deletionTimestamp", Type::time},
                                 {11, "labels", Type::map},
                                 {12, "annotations", Type::map},
                                 {13, "ownerReferences", Type::message, true, &owner}};
constexpr Message meta{meta_fields};

constexpr Field namespace_fields[] = {{1, "metadata", Type::message, false, &meta}};
constexpr Message namespace_message{namespace_fields};

constexpr Field address_fields[] = {{1, "type", Type::text}, {2, "address", Type::text}};
constexpr Message address{address_fields};
constexpr Field node_spec_fields[] = {{1, "podCIDR", Type::text}, {7, "podCIDRs", Type::text, true}};
constexpr Message node_spec{node_spec_fields};
constexpr Field node_status_fields[] = {{5, "addresses", Type::message, true, &address}};
constexpr Message node_status{node_status_fields};
constexpr Field node_fields[] = {{1, "metadata", Type::message, false, &meta},
                                 {2, "spec", Type::message, false, &node_spec},
                                 {3, "status", Type::message, false, &node_status}};
constexpr Message node{node_fields};

constexpr Field port_fields[] = {
    {1, "name", Type::text}, {3, "containerPort", Type::number}, {4, "protocol", Type::text}};
constexpr Message port{port_fields};
constexpr Field container_fields[] = {
    {1, "name", Type::text}, {6, "ports", Type::message, true, &port}, {24, "restartPolicy", Type::text}};
constexpr Message container{container_fields};
constexpr Field pod_spec_fields[] = {{2, "containers", Type::message, true, &container},
                                     {10, "nodeName", Type::text},
                                     {11, "hostNetwork", Type::flag},
                                     {20, "initContainers", Type::message, true, &container}};
constexpr Message pod_spec{pod_spec_fields};
constexpr Field pod_ip_fields[] = {{1, "ip", Type::text}};
constexpr Message pod_ip{pod_ip_fields};
constexpr Field pod_status_fields[] = {
    {1, "phase", Type::text}, {6, "podIP", Type::text}, {12, "podIPs", Type::message, true, &pod_ip}};
constexpr Message pod_status{pod_status_fields};
constexpr Field pod_fields[] = {{1, "metadata", Type::message, false, &meta},
                                {2, "spec", Type::message, false, &pod_spec},
                                {3, "status", Type::message, false, &pod_status}};
constexpr Message pod{pod_fields};

constexpr Field requirement_fields[] = {
    {1, "key", Type::text}, {2, "operator", Type::text}, {3, "values", Type::text, true}};
constexpr Message requirement{requirement_fields, true};
constexpr Field selector_fields[] = {{1, "matchLabels", Type::map},
                                     {2, "matchExpressions", Type::message, true, &requirement}};
constexpr Message selector{selector_fields, true};
constexpr Field block_fields[] = {{1, "cidr", Type::text}, {2, "except", Type::text, true}};
constexpr Message block{block_fields, true};
constexpr Field peer_fields[] = {{1, "podSelector", Type::message, false, &selector},
                                 {2, "namespaceSelector", Type::message, false, &selector},
                                 {3, "ipBlock", Type::message, false, &block}};
constexpr Message peer{peer_fields, true};
constexpr Field policy_port_fields[] = {
    {1, "protocol", Type::text}, {2, "port", Type::int_or_string}, {3, "endPort", Type::number}};
constexpr Message policy_port{policy_port_fields, true};
constexpr Field ingress_fields[] = {{1, "ports", Type::message, true, &policy_port},
                                    {2, "from", Type::message, true, &peer}};
constexpr Message ingress{ingress_fields, true};
constexpr Field egress_fields[] = {{1, "ports", Type::message, true, &policy_port},
                                   {2, "to", Type::message, true, &peer}};
constexpr Message egress{egress_fields, true};
constexpr Field policy_spec_fields[] = {{1, "podSelector", Type::message, false, &selector},
                                        {2, "ingress", Type::message, true, &ingress},
                                        {3, "egress", Type::message, true, &egress},
                                        {4, "policyTypes", Type::text, true}};
constexpr Message policy_spec{policy_spec_fields, true};
constexpr Field policy_fields[] = {{1, "metadata", Type::message, false, &meta},
                                   {2, "spec", Type::message, false, &policy_spec}};
constexpr Message policy{policy_fields};

constexpr Field list_meta_fields[] = {
    {2, "resourceVersion", Type::text}, {3, "continue", Type::text}, {4, "remainingItemCount", Type::number}};
constexpr Message list_meta{list_meta_fields};
constexpr Field cause_fields[] = {{1, "reason", Type::text}};
constexpr Message cause{cause_fields};
constexpr Field details_fields[] = {{4, "causes", Type::message, true, &cause}, {5, "retryAfterSeconds", Type::number}};
constexpr Message details{details_fields};
constexpr Field status_fields[] = {{3, "message", Type::text},
                                   {4, "reason", Type::text},
                                   {5, "details", Type::message, false, &details},
                                   {6, "code", Type::number}};
constexpr Message status{status_fields};

const Message& message_of(Kind kind) {
  switch (kind) {
    case Kind::namespace_:
      return namespace_message;
    case Kind::node:
      return node;
    case Kind::pod:
      return pod;
    case Kind::network_policy:
      return policy;
  }
  return pod;
}

tl::unexpected<Error> broken() {
  return fail(Errc::invalid, "no protobuf");
}

/// Calls each(field, bytes of it) for every field. `each` may give an error.
template <class Each>
Result<> each_field(std::string_view bytes, const Each& each) {
  while (!bytes.empty()) {
    ProtoField field;
    const auto whole = read_proto_field(bytes, field);
    if (!whole) return fail(whole.error());
    const bool has_bytes = field.wire_type != 0;
    if (!*whole || (has_bytes && field.value > bytes.size())) return broken();
    const auto body = has_bytes ? bytes.substr(0, field.value) : std::string_view();
    bytes.remove_prefix(body.size());
    if (Result<> done = each(field, body); !done) return done;
  }
  return {};
}

/// The last value of a field counts.
Result<std::string_view> bytes_at(std::string_view message, unsigned number) {
  std::string_view found;
  const auto done = each_field(message, [&](const ProtoField& field, std::string_view body) -> Result<> {
    if (field.number == number && field.wire_type == 2) found = body;
    return {};
  });
  if (!done) return fail(done.error());
  return found;
}

Result<std::int64_t> number_at(std::string_view message, unsigned number) {
  std::int64_t found = 0;
  const auto done = each_field(message, [&](const ProtoField& field, std::string_view) -> Result<> {
    if (field.number == number && field.wire_type == 0) found = static_cast<std::int64_t>(field.value);
    return {};
  });
  if (!done) return fail(done.error());
  return found;
}

/// Writes messages as JSON.
class Writer {
 public:
  explicit Writer(std::string& out) : json_(out) {}

  Result<> message(const Message& what, std::string_view bytes, std::string_view kind = {}) {
    json_.begin_object();
    if (!kind.empty()) json_.field("kind", kind);
    for (const auto& field : what.fields) {
      if (auto done = this->field(field, bytes); !done) return done;
    }
    if (what.closed) {
      if (auto done = unknown(what, bytes); !done) return done;
    }
    json_.end_object();
    return {};
  }

  JsonWriter& json() { return json_; }

 private:
  /// All values of a field, or the last one.
  Result<> field(const Field& field, std::string_view bytes) {
    const unsigned wire_type = field.type == Type::flag || field.type == Type::number ? 0 : 2;
    bool begun = false;
    std::optional<std::pair<ProtoField, std::string_view>> last;
    auto done = each_field(bytes, [&](const ProtoField& found, std::string_view body) -> Result<> {
      if (found.number != field.number) return {};
      if (found.wire_type != wire_type) return broken();
      if (!field.repeated && field.type != Type::map) {
        last.emplace(found, body);
        return {};
      }
      if (!std::exchange(begun, true)) {
        json_.key(field.name);
        field.type == Type::map ? json_.begin_object() : json_.begin_array();
      }
      return field.type == Type::map ? entry(body) : value(field, found, body);
    });
    if (!done) return done;
    if (begun) field.type == Type::map ? json_.end_object() : json_.end_array();
    if (!last || (field.type == Type::text && last->second.empty())) return {};  // as JSON leaves it out
    json_.key(field.name);
    return value(field, last->first, last->second);
  }

  Result<> value(const Field& field, const ProtoField& found, std::string_view body) {
    switch (field.type) {
      case Type::flag:
        json_.value(found.value != 0);
        return {};
      case Type::number:
        json_.value(static_cast<std::int64_t>(found.value));
        return {};
      case Type::message:
        return message(*field.message, body);
      case Type::time:
        return time(body);
      case Type::int_or_string:
        return int_or_string(body);
      case Type::text:
      case Type::map:
        json_.value(body);
        return {};
    }
    return {};
  }

  Result<> entry(std::string_view body) {
    const auto key = bytes_at(body, 1);
    const auto value = bytes_at(body, 2);
    if (!key || !value) return broken();
    json_.key(*key).value(*value);
    return {};
  }

  Result<> time(std::string_view body) {
    const auto seconds = number_at(body, 1);
    if (!seconds) return fail(seconds.error());
    const auto text = timestamp_text(*seconds);
    text ? json_.value(*text) : json_.null();
    return {};
  }

  Result<> int_or_string(std::string_view body) {
    const auto type = number_at(body, 1);
    const auto number = number_at(body, 2);
    const auto text = bytes_at(body, 3);
    if (!type || !number || !text) return broken();
    *type == 0 ? json_.value(*number) : json_.value(*text);
    return {};
  }

  Result<> unknown(const Message& what, std::string_view bytes) {
    return each_field(bytes, [&](const ProtoField& found, std::string_view) -> Result<> {
      for (const auto& field : what.fields) {
        if (field.number == found.number) return {};
      }
      json_.field("field" + std::to_string(found.number), true);
      return {};
    });
  }

  JsonWriter json_;
};

Result<std::string> written(const Message& what, std::string_view bytes, std::string_view kind = {}) {
  std::string out;
  if (auto done = Writer(out).message(what, bytes, kind); !done) return fail(done.error());
  return out;
}

struct Envelope {
  std::string_view kind;
  std::string_view raw;
};

Result<Envelope> opened(std::string_view bytes) {
  if (!bytes.starts_with(proto_magic)) return broken();
  bytes.remove_prefix(proto_magic.size());
  const auto type = bytes_at(bytes, 1);
  const auto raw = bytes_at(bytes, 2);
  if (!type || !raw) return broken();
  const auto kind = bytes_at(*type, 2);
  if (!kind) return broken();
  return Envelope{*kind, *raw};
}

}  // namespace

Result<bool> read_proto_field(std::string_view& bytes, ProtoField& field) {
  std::string_view rest = bytes;
  const auto varint = [&](std::uint64_t& value) -> Result<bool> {
    value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (rest.empty()) return false;
      const auto byte = static_cast<unsigned char>(rest.front());
      rest.remove_prefix(1);
      if (shift == 63 && byte > 1) return broken();
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if (byte < 0x80) return true;
    }
    return broken();
  };
  std::uint64_t tag = 0;
  if (auto whole = varint(tag); !whole || !*whole) return whole;
  field.number = static_cast<unsigned>(tag >> 3U);
  field.wire_type = static_cast<unsigned>(tag & 7U);
  if (field.number == 0 || tag >> 32U != 0) return broken();
  if (field.wire_type == 1 || field.wire_type == 5) {
    field.value = field.wire_type == 1 ? 8 : 4;
  } else if (field.wire_type == 0 || field.wire_type == 2) {
    if (auto whole = varint(field.value); !whole || !*whole) return whole;
  } else {
    return broken();
  }
  bytes = rest;
  return true;
}

Result<std::string> object_from_proto(Kind kind, std::string_view message) {
  return written(message_of(kind), message);
}

Result<std::string> list_meta_from_proto(std::string_view message) {
  return written(list_meta, message);
}

Result<std::string> status_from_proto(std::string_view enveloped) {
  const auto envelope = opened(enveloped);
  if (!envelope) return fail(envelope.error());
  return written(status, envelope->raw, envelope->kind);
}

Result<std::string> event_from_proto(Kind kind, std::string_view message) {
  const auto type = bytes_at(message, 1);
  const auto extension = bytes_at(message, 2);
  if (!type || !extension) return broken();
  const auto bytes = bytes_at(*extension, 1);
  if (!bytes) return broken();
  const auto envelope = opened(*bytes);
  if (!envelope) return fail(envelope.error());
  std::string out;
  Writer writer(out);
  writer.json().begin_object().field("type", *type).key("object");
  const bool is_status = envelope->kind == "Status";
  if (auto done = writer.message(is_status ? status : message_of(kind), envelope->raw, envelope->kind); !done) {
    return fail(done.error());
  }
  writer.json().end_object();
  return out;
}

}  // namespace podfence::api
