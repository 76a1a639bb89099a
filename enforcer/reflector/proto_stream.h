#pragma once
// As scan.h, for protobuf: messages in a stream that may be cut anywhere, one held at a time.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::reflector {

/// Four bytes of length before each message: the events of a watch.
class ProtoFrameReader {
 public:
  /// Calls frame(message) for each that is whole now, until one returns false.
  Result<> take(std::string_view bytes, const std::function<bool(std::string_view)>& frame);

 private:
  std::string text_;  // length and message, as far as they have come
};

/// The body of a list in its envelope, item by item.
class ProtoListReader {
 public:
  using EachItem = std::function<Result<>(std::string_view)>;
  Result<> take(std::string_view bytes, const EachItem& item);
  /// Whether the body was whole, and a list.
  bool done() const { return has_list_ && !in_list_ && left_ == 0 && text_.empty() && is_list_; }
  const std::string& metadata() const { return metadata_; }  // a ListMeta

 private:
  Result<> take_header(std::string_view& bytes);
  Result<> take_body(std::string_view& bytes, const EachItem& item);
  Result<> begin();
  Result<> ended(const EachItem& item);

  bool has_magic_ = false;
  bool is_list_ = false;   // says the envelope
  bool has_list_ = false;  // its bytes have begun
  bool in_list_ = false;
  std::uint64_t list_left_ = 0;  // bytes of the list that are still to come
  unsigned number_ = 0;          // of the field whose body is being read
  std::uint64_t left_ = 0;       // bytes of that body
  bool keeps_ = false;           // whether that body is wanted
  std::string text_;             // of a header or a body
  std::string metadata_;
};

}  // namespace podfence::reflector
