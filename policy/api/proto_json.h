#pragma once
// The API server's protobuf as the JSON that it stands for: the fields that policy needs, and no more. So both
// encodings go through the same readers, which validate and default; here is only the wire. What the wire holds in a
// part of a policy and we do not know is passed on as an unknown field, so that a rule with it closes.
#include <string>
#include <string_view>

#include "policy/api/meta.h"
#include "policy/base/result.h"

namespace podfence::api {

/// A Namespace, Node, Pod or NetworkPolicy.
Result<std::string> object_from_proto(Kind kind, std::string_view message);
/// A WatchEvent, with its object.
Result<std::string> event_from_proto(Kind kind, std::string_view message);
/// A Status in its envelope.
Result<std::string> status_from_proto(std::string_view enveloped);
/// A ListMeta.
Result<std::string> list_meta_from_proto(std::string_view message);

/// Before every object that stands alone.
constexpr std::string_view proto_magic{"k8s\0", 4};

/// One field of a message.
struct ProtoField {
  unsigned number = 0;
  unsigned wire_type = 0;   // 0 = number, 2 = bytes; 1 and 5 are passed over
  std::uint64_t value = 0;  // the number, or how many bytes
};

/// Reads the tag of a field, and its number or length, at the beginning of `bytes`, and takes them away. Nothing is
/// taken, and false given, when more bytes are needed.
Result<bool> read_proto_field(std::string_view& bytes, ProtoField& field);

}  // namespace podfence::api
