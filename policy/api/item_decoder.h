#pragma once
// Objects one at a time, as the API server sends them: an item of a typed list, an event of a watch, a Status. First
// what names the object and its version, then, where that is news, the object as a whole. Input is hostile, as in
// decode.h.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/decode.h"
#include "policy/api/objects.h"
#include "policy/base/result.h"

namespace podfence::api {

/// An object's own name and version. `name` is empty where it has none that can be used.
struct ItemHead {
  std::string namespace_;
  std::string name;
  std::string uid;
  std::string resource_version;
};

/// What the API server answers instead of what was asked for.
struct Status {
  int code = 0;
  std::string reason;
  std::string message;
  std::vector<std::string> causes;  // their reasons
  unsigned retry_after_seconds = 0;
};

enum class EventType : std::uint8_t { added, modified, deleted, bookmark, error, unknown };

struct WatchEvent {
  EventType type = EventType::unknown;
  ItemHead head;
  bool ends_initial_events = false;  // of a bookmark
  Status status;                     // of an error
};

/// What a list says beside its items.
struct ListMeta {
  std::string resource_version;
  std::string next_page;  // metadata.continue
  std::uint64_t remaining = 0;
};

class ItemDecoder {
 public:
  explicit ItemDecoder(Kind kind);
  ~ItemDecoder();
  ItemDecoder(const ItemDecoder&) = delete;
  ItemDecoder& operator=(const ItemDecoder&) = delete;

  /// Fails where the text is no object, or one of another kind.
  Result<ItemHead> item(std::string_view text);
  /// Fails where the text is no event. An object of another kind makes it an event of unknown type.
  Result<WatchEvent> event(std::string_view text);
  /// The object of the last item or event. As decode_json: narrowed where it is invalid, nothing without a usable name.
  Decoded read();

  /// Forgets what objects have in common: until then they share it.
  void end_of_list();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Of the text of the field "metadata" of a list.
Result<ListMeta> decode_list_meta(std::string_view text);
Result<Status> decode_status(std::string_view text);

}  // namespace podfence::api
