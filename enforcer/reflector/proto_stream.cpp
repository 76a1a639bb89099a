#include "enforcer/reflector/proto_stream.h"

#include <algorithm>

#include "enforcer/reflector/scan.h"
#include "policy/api/proto_json.h"

namespace podfence::reflector {
namespace {

constexpr std::size_t most_kept = std::size_t{1} << 20U;
constexpr unsigned list_meta = 1;  // fields of every list
constexpr unsigned list_items = 2;
constexpr unsigned envelope_type = 1;  // and of the envelope
constexpr unsigned envelope_raw = 2;

tl::unexpected<Error> broken() {
  return fail(Errc::invalid, "the list is no protobuf");
}

void clear(std::string& text) {
  if (text.capacity() > most_kept) {
    text = std::string();
  } else {
    text.clear();
  }
}

}  // namespace

Result<> ProtoFrameReader::take(std::string_view bytes, const std::function<bool(std::string_view)>& frame) {
  constexpr std::size_t header = 4;
  while (!bytes.empty()) {
    const auto wanted = [&] {
      if (text_.size() < header) return header;
      std::size_t length = 0;
      for (std::size_t i = 0; i < header; ++i) length = (length << 8U) | static_cast<unsigned char>(text_[i]);
      return header + length;
    };
    const auto piece = bytes.substr(0, wanted() - text_.size());
    text_.append(piece);
    bytes.remove_prefix(piece.size());
    if (wanted() > header + longest_value) return fail(Errc::limit, "a frame of more than 16 MiB");
    if (text_.size() < header || text_.size() < wanted()) continue;
    const bool goes_on = frame(std::string_view(text_).substr(header));
    clear(text_);
    if (!goes_on) return {};
  }
  return {};
}

Result<> ProtoListReader::take(std::string_view bytes, const EachItem& item) {
  while (!bytes.empty()) {
    auto done = left_ > 0 ? take_body(bytes, item) : take_header(bytes);
    if (!done) return done;
    if (in_list_ && list_left_ == 0 && left_ == 0 && text_.empty()) in_list_ = false;
  }
  return {};
}

/// A byte at a time: headers are short.
Result<> ProtoListReader::take_header(std::string_view& bytes) {
  if (in_list_ && list_left_-- == 0) return broken();
  text_ += bytes.front();
  bytes.remove_prefix(1);
  if (!has_magic_) {
    if (!api::proto_magic.starts_with(text_)) return broken();
    has_magic_ = text_.size() == api::proto_magic.size();
    if (has_magic_) text_.clear();
    return {};
  }
  return begin();
}

Result<> ProtoListReader::begin() {
  std::string_view header = text_;
  api::ProtoField field;
  const auto whole = api::read_proto_field(header, field);
  if (!whole) return fail(whole.error());
  if (!*whole) return in_list_ && list_left_ == 0 ? Result<>(broken()) : Result<>();
  text_.clear();
  if (field.wire_type == 0) return {};
  if (in_list_ && field.value > list_left_) return broken();
  if (!in_list_ && field.number == envelope_raw && field.wire_type == 2) {
    if (has_list_) return broken();
    has_list_ = true;
    in_list_ = field.value > 0;
    list_left_ = field.value;
    return {};
  }
  number_ = field.number;
  left_ = field.value;
  keeps_ =
      field.wire_type == 2 && (in_list_ ? number_ == list_meta || number_ == list_items : number_ == envelope_type);
  if (keeps_ && left_ > longest_value) return fail(Errc::limit, "an item of more than 16 MiB");
  return {};
}

Result<> ProtoListReader::take_body(std::string_view& bytes, const EachItem& item) {
  const auto piece = bytes.substr(0, std::min<std::uint64_t>(left_, bytes.size()));
  if (keeps_) text_.append(piece);
  bytes.remove_prefix(piece.size());
  left_ -= piece.size();
  if (in_list_) list_left_ -= piece.size();
  return left_ == 0 && keeps_ ? ended(item) : Result<>();
}

Result<> ProtoListReader::ended(const EachItem& item) {
  Result<> done;
  if (!in_list_) {
    is_list_ = text_.ends_with("List");  // apiVersion, kind
  } else if (number_ == list_meta) {
    metadata_ = text_;
  } else {
    done = item(text_);
  }
  clear(text_);
  return done;
}

}  // namespace podfence::reflector
