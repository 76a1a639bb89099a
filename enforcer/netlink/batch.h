#pragma once
// One transaction for nf_tables: the messages between BATCH_BEGIN and BATCH_END, ready to be sent, and which elements
// each of them carries, so that a refusal can be traced back.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "policy/program/program.h"

struct nlmsghdr;

namespace podfence::netlink {

class Batch {
 public:
  /// The elements of one message: `first` points into what the batch was made from.
  struct Origin {
    std::uint32_t sequence = 0;
    program::SetId set;
    std::span<const program::Element> elements;
    bool removal = false;
  };

  Batch();
  /// Back to empty; keeps the memory unless it is much.
  void clear();
  bool empty() const { return messages_ == 0; }

  /// Begins the next message (NFT_MSG_*, NLM_F_* besides REQUEST). The pointer is good until the next start(); there is
  /// room for `message_room` bytes, and finish() must follow.
  nlmsghdr* start(std::uint16_t type, std::uint16_t flags);
  void finish(const nlmsghdr* message);
  static constexpr std::size_t message_room = 40 * 1024;

  /// All of a set's elements, in as many messages as it takes.
  void put_elements(program::SetId set, std::span<const program::Element> elements, bool removal);

  /// Sets the generation, the sequence numbers and the one ACK, and closes the batch. May be called again after an
  /// answer of ERESTART.
  std::span<const std::byte> seal(std::uint32_t generation, std::uint32_t first_sequence);
  std::uint32_t first_sequence() const { return first_sequence_; }
  std::uint32_t last_sequence() const { return first_sequence_ + messages_; }
  std::uint32_t sequences_used() const { return messages_ + 2; }

  /// The element that an answer means; nothing when the message was not one of elements.
  struct Culprit {
    program::SetId set;
    std::optional<program::Element> element;
    bool removal = false;
  };
  std::optional<Culprit> culprit(std::uint32_t sequence, std::optional<std::uint32_t> offset) const;

 private:
  void reserve(std::size_t bytes);

  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
  std::size_t open_ = 0;  // where the message begins that is being written
  std::uint32_t messages_ = 0;
  std::uint32_t first_sequence_ = 0;
  std::vector<Origin> origins_;  // sequence counted from the batch's begin
};

}  // namespace podfence::netlink
