#pragma once
// A world of objects as bytes, and back: what an agent leaves for the next start of its node. Objects are kept as the
// source gave them, decoded; so a reader of another version of this program does not have to understand more than
// this format. The same objects in the same order give the same bytes.
//
//   head:    "PFWORLD\n"; format, length of the objects (8 bytes), length of the origin, CRC-32C of the objects, of the
//            origin, and of the head so far; numbers of 4 bytes, the lowest first
//   objects: one after another: a byte for the kind, then the fields in their order
//   origin:  whose world it is, and of when
//
// Within, numbers are LEB128. A text that many objects share is written once and then named by its number; labels and
// ports that are those of the object before are one byte.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policy/api/objects.h"
#include "policy/base/result.h"

namespace podfence::archive {

/// A reader takes this format and no other.
inline constexpr std::uint32_t format = 1;

struct Origin {
  std::string node;          // the agent's
  std::string cluster;       // uid of the namespace kube-system; empty: not known
  std::string server;        // where the objects came from, for people
  std::string boot;          // of the node's kernel
  std::int64_t written = 0;  // seconds since 1970
  /// Objects whose content has errors, so that this is the narrow reading of it; as ObjectKey::text().
  std::vector<std::string> narrow;
  friend bool operator==(const Origin&, const Origin&) = default;
};

class Encoder {
 public:
  explicit Encoder(std::size_t expected_bytes = 0);

  /// The objects stay where they are until finish().
  void add(const api::Namespace& object);
  void add(const api::Node& object);
  void add(const api::Pod& object);
  void add(const api::NetworkPolicy& object);
  void add(const api::Object& object) {
    std::visit([this](const auto& one) { add(one); }, object);
  }

  struct Bytes {
    std::string all;
    std::uint64_t content = 0;  // differs, in all likelihood, where the objects differ
  };
  Bytes finish(const Origin& origin) &&;

 private:
  void shared(const Text& text);
  void labels(const api::Labels& labels);
  void meta(const api::ObjectMeta& meta);

  std::string out_;
  std::unordered_map<std::string_view, std::size_t> texts_;
  api::Labels last_labels_;
  SharedList<api::ContainerPort> last_ports_;
};

/// Every object, in order, as it was added; then the origin. What is cut short, damaged, of another format or no
/// archive is an error, after some of the objects or none.
Result<Origin> decode(std::string_view bytes, const std::function<void(api::Object)>& take);

struct Head {
  Origin origin;
  std::uint64_t content = 0;  // as Encoder::Bytes
};
/// The objects are not looked at.
Result<Head> decode_head(std::string_view bytes);

}  // namespace podfence::archive
