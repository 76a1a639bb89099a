#pragma once
// As much of netlink as a plugin needs: messages with attributes, and one question with its answers at a time. A socket
// stays in the network namespace in which it was opened.
#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cni/descriptor.h"
#include "policy/base/result.h"

namespace podfence::cni {

/// A message under construction. T in header() and attribute() is copied as it lies in memory.
class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags);

  template <class T>
  Message& header(const T& value) {
    return bytes(std::as_bytes(std::span<const T, 1>(&value, 1)));
  }
  Message& raw(std::uint16_t type, std::span<const std::byte> value);
  template <class T>
  Message& attribute(std::uint16_t type, const T& value) {
    return raw(type, std::as_bytes(std::span<const T, 1>(&value, 1)));
  }
  /// With its final zero.
  Message& text(std::uint16_t type, const std::string& value);

  /// Attributes from here to end() lie within this one.
  Message& begin(std::uint16_t type);
  Message& end();

  bool wants_acknowledgement() const { return wants_acknowledgement_; }
  std::vector<std::byte> finish(std::uint32_t sequence) const;

 private:
  Message& bytes(std::span<const std::byte> value);

  std::vector<std::byte> data_;
  std::vector<std::size_t> open_;
  bool wants_acknowledgement_;
};

/// Attributes by type; of a type that comes twice, the last.
using Attributes = std::map<std::uint16_t, std::span<const std::byte>>;
Attributes attributes_in(std::span<const std::byte> bytes);

/// Nothing where it is missing or of another size.
std::optional<std::uint32_t> number_at(const Attributes& attributes, std::uint16_t type);
std::optional<std::uint8_t> byte_at(const Attributes& attributes, std::uint16_t type);
std::string text_at(const Attributes& attributes, std::uint16_t type);
Attributes nested_at(const Attributes& attributes, std::uint16_t type);

class Netlink {
 public:
  static Result<Netlink> open(int protocol);

  /// Sends the messages in one datagram and waits for the end of the answer: an error, an acknowledgement, or a message
  /// that is no acknowledgement, whose payload it returns. Of several messages the last one with NLM_F_ACK ends the
  /// answer, and the first error counts. not_found: ENOENT, ENODEV.
  Result<std::vector<std::byte>> ask(const std::vector<Message>& messages);

 private:
  explicit Netlink(Descriptor fd) : fd_(std::move(fd)) {}
  Result<std::vector<std::byte>> receive(std::uint32_t first, std::uint32_t last);

  Descriptor fd_;
  std::uint32_t sequence_ = 1;
};

}  // namespace podfence::cni
