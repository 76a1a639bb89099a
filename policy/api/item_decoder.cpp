#include "policy/api/item_decoder.h"

#include "policy/api/duplicate_keys.h"
#include "policy/api/parts.h"
#include "policy/api/pool.h"

namespace podfence::api {
namespace {

namespace dom = simdjson::dom;

constexpr std::string_view file = "kubernetes";
constexpr std::string_view initial_events_end = "k8s.io/initial-events-end";
constexpr std::size_t deepest = 64;
constexpr std::size_t most_kept = std::size_t{4} << 20U;  // a parser that was larger once is made anew
constexpr std::size_t longest_message = 500;

std::string text_at(const Value& object, std::string_view key) {
  const Value value = object.get(key);
  return value.is_string() ? std::string(value.string()) : std::string();
}

std::uint64_t number_at(const Value& object, std::string_view key) {
  const Value value = object.get(key);
  return value.is_integer() && value.integer() > 0 ? static_cast<std::uint64_t>(value.integer()) : 0;
}

EventType type_of(std::string_view text) {
  if (text == "ADDED") return EventType::added;
  if (text == "MODIFIED") return EventType::modified;
  if (text == "DELETED") return EventType::deleted;
  if (text == "BOOKMARK") return EventType::bookmark;
  return text == "ERROR" ? EventType::error : EventType::unknown;
}

Status status_of(const Value& object) {
  Status status;
  status.code = static_cast<int>(number_at(object, "code"));
  status.reason = text_at(object, "reason");
  status.message = text_at(object, "message").substr(0, longest_message);
  const Value details = object.get("details");
  status.retry_after_seconds = static_cast<unsigned>(number_at(details, "retryAfterSeconds"));
  const Value causes = details.get("causes");
  causes.each_item([&](const Value& cause) { status.causes.push_back(text_at(cause, "reason")); });
  return status;
}

/// One text at a time, in one buffer.
class Parser {
 public:
  Result<dom::element> parse(std::string_view text) {
    if (buffer_.capacity() > most_kept && text.size() < most_kept) *this = Parser();
    buffer_.clear();
    buffer_.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    buffer_.append(text);
    if (parser_.max_depth() != deepest) {
      if (const auto code = parser_.allocate(std::size_t{16} << 10U, deepest); code != simdjson::SUCCESS) {
        return fail(Errc::limit, simdjson::error_message(code));
      }
    }
    dom::element root;
    if (const auto code = parser_.parse(buffer_.data(), buffer_.size(), false).get(root); code != simdjson::SUCCESS) {
      return fail(code == simdjson::DEPTH_ERROR ? Errc::limit : Errc::invalid, simdjson::error_message(code));
    }
    return root;
  }

 private:
  std::string buffer_;
  dom::parser parser_;
};

}  // namespace

struct ItemDecoder::State {
  explicit State(Kind of) : kind(of) {}

  /// A list's items need not say what they are; what says something else is not ours.
  bool is_ours(const Value& object) const {
    const Value named = object.get("kind");
    return !named.given() || (named.is_string() && named.string() == name_of(kind));
  }

  ItemHead head_of(const Value& object) const {
    const Value meta = object.get("metadata");
    ItemHead head;
    head.name = text_at(meta, "name");
    if (kind == Kind::pod || kind == Kind::network_policy) {
      head.namespace_ = text_at(meta, "namespace");
      if (head.namespace_.empty()) head.namespace_ = "default";  // as the object will be read
    }
    head.uid = text_at(meta, "uid");
    head.resource_version = text_at(meta, "resourceVersion");
    return head;
  }

  template <class T>
  void keep(Decoded& out, std::optional<T> object) {
    if (!object) return;
    pool.share(*object);
    out.objects.emplace_back(*std::move(object));
  }

  Kind kind;
  Parser parser;
  Pool pool;
  dom::element at_hand;
};

ItemDecoder::ItemDecoder(Kind kind) : state_(std::make_unique<State>(kind)) {}
ItemDecoder::~ItemDecoder() = default;

Result<ItemHead> ItemDecoder::item(std::string_view text) {
  const auto root = state_->parser.parse(text);
  if (!root) return fail(root.error());
  const Value value(*root, {});
  if (!value.is_object()) return fail(Errc::invalid, value.shown() + " is no object");
  if (!state_->is_ours(value)) {
    return fail(Errc::invalid,
                "an object of kind " + text_at(value, "kind") + ": expected " + std::string(name_of(state_->kind)));
  }
  state_->at_hand = *root;
  return state_->head_of(value);
}

Result<WatchEvent> ItemDecoder::event(std::string_view text) {
  const auto root = state_->parser.parse(text);
  if (!root) return fail(root.error());
  const Value value(*root, {});
  const Value type = value.get("type");
  const Value object = value.get("object");
  if (!type.is_string() || !object.is_object()) return fail(Errc::invalid, "an event without a type or an object");
  WatchEvent event;
  event.type = type_of(type.string());
  if (event.type == EventType::error) {
    event.status = status_of(object);
    return event;
  }
  if (!state_->is_ours(object)) {
    event.type = EventType::unknown;
    return event;
  }
  state_->at_hand = (*root)["object"].value_unsafe();
  event.head = state_->head_of(object);
  if (event.type == EventType::bookmark) {
    const Value meta = object.get("metadata");
    const Value annotations = meta.get("annotations");
    event.ends_initial_events = text_at(annotations, initial_events_end) == "true";
  }
  return event;
}

Decoded ItemDecoder::read() {
  Report report(file);
  Decoded out;
  const Value value(state_->at_hand, {});
  if (auto twice = find_duplicate_key(value)) {
    report.error(value, twice->what());
    out.diagnostics = report.take();
    return out;
  }
  switch (state_->kind) {
    case Kind::namespace_:
      state_->keep(out, read_namespace(report, value));
      break;
    case Kind::node:
      state_->keep(out, read_node(report, value));
      break;
    case Kind::pod:
      state_->keep(out, read_pod(report, value));
      break;
    case Kind::network_policy:
      state_->keep(out, read_network_policy(report, value));
      break;
  }
  out.diagnostics = report.take();
  return out;
}

void ItemDecoder::end_of_list() {
  state_->pool = Pool();
}

Result<ListMeta> decode_list_meta(std::string_view text) {
  Parser parser;
  const auto root = parser.parse(text);
  if (!root) return fail(root.error());
  const Value meta(*root, {});
  if (!meta.is_object()) return fail(Errc::invalid, "metadata is no object");
  return ListMeta{text_at(meta, "resourceVersion"), text_at(meta, "continue"), number_at(meta, "remainingItemCount")};
}

Result<Status> decode_status(std::string_view text) {
  Parser parser;
  const auto root = parser.parse(text);
  if (!root) return fail(root.error());
  const Value object(*root, {});
  if (text_at(object, "kind") != "Status") return fail(Errc::invalid, "no Status");
  return status_of(object);
}

}  // namespace podfence::api
