#include "enforcer/reflector/scan.h"

#include <algorithm>

namespace podfence::reflector {
namespace {

/// What is kept of a value that was long once: the next ones are short again.
constexpr std::size_t most_kept = std::size_t{1} << 20U;

void clear(std::string& text) {
  if (text.capacity() > most_kept) {
    text = std::string();
  } else {
    text.clear();
  }
}

bool ends_word(char c) {
  return is_space(c) || c == ',' || c == ']' || c == '}' || c == ':' || c == '"' || c == '[' || c == '{';
}

Result<> append(std::string& text, std::string_view bytes) {
  if (text.size() + bytes.size() > longest_value) {
    return fail(Errc::limit, "a value of more than " + std::to_string(longest_value) + " bytes");
  }
  text.append(bytes);
  return {};
}

}  // namespace

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::size_t ValueScanner::take(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && state_ != State::done) {
    const char c = bytes[at];
    switch (state_) {
      case State::start:
        state_ = c == '{' || c == '[' ? State::inside : c == '"' ? State::string : State::word;
        depth_ = state_ == State::inside ? 1 : 0;
        break;
      case State::word:
        if (ends_word(c)) {
          state_ = State::done;
          return at;
        }
        break;
      case State::inside:
        if (c == '"') state_ = State::string;
        if (c == '{' || c == '[') ++depth_;
        if ((c == '}' || c == ']') && --depth_ == 0) state_ = State::done;
        break;
      case State::string: {
        const auto stop = bytes.find_first_of("\"\\", at);
        if (stop == std::string_view::npos) return bytes.size();
        at = stop;
        if (bytes[at] == '\\') {
          state_ = State::escape;
        } else {
          state_ = depth_ == 0 ? State::done : State::inside;
        }
        break;
      }
      case State::escape:
        state_ = State::string;
        break;
      case State::done:
        break;
    }
    ++at;
  }
  return at;
}

Result<> FrameReader::take(std::string_view bytes, const std::function<bool(std::string_view)>& frame) {
  while (!bytes.empty()) {
    if (text_.empty()) {
      if (is_space(bytes.front())) {
        bytes.remove_prefix(1);
        continue;
      }
      if (bytes.front() != '{') return fail(Errc::invalid, "what should be an event does not begin with {");
      scanner_.reset();
    }
    const auto length = scanner_.take(bytes);
    if (auto added = append(text_, bytes.substr(0, length)); !added) return added;
    bytes.remove_prefix(length);
    if (!scanner_.done()) continue;
    const bool goes_on = frame(text_);
    clear(text_);
    if (!goes_on) return {};
  }
  return {};
}

Result<> ListReader::take(std::string_view bytes, const EachItem& item) {
  while (!bytes.empty()) {
    if (auto done = step(bytes, item); !done) return done;
  }
  return {};
}

Result<> ListReader::step(std::string_view& bytes, const EachItem& item) {
  const bool collects = state_ == State::in_key || state_ == State::in_value || state_ == State::in_item;
  if (collects) return collect(bytes, item);
  const char c = bytes.front();
  if (is_space(c)) {
    bytes.remove_prefix(1);
    return {};
  }
  const auto begin = [&](State state) {
    scanner_.reset();
    clear(text_);
    state_ = state;
    return Result<>();
  };
  if ((state_ == State::first_key || state_ == State::key) && c == '"') return begin(State::in_key);
  const bool is_list_of_items = key_ == "\"items\"" && c == '[';
  const bool begins_value = c != ',' && c != ']' && c != '}' && c != ':';
  if (state_ == State::value && begins_value && !is_list_of_items) return begin(State::in_value);
  if ((state_ == State::first_item || state_ == State::item) && c == '{') return begin(State::in_item);
  bytes.remove_prefix(1);
  return punctuation(c);
}

Result<> ListReader::punctuation(char c) {
  const auto go = [&](State state) {
    state_ = state;
    return Result<>();
  };
  if (state_ == State::start && c == '{') return go(State::first_key);
  if (state_ == State::first_key && c == '}') return go(State::end);
  if (state_ == State::colon && c == ':') return go(State::value);
  if (state_ == State::after && c == ',') return go(State::key);
  if (state_ == State::after && c == '}') return go(State::end);
  if (state_ == State::value && c == '[') {
    if (has_items_) return fail(Errc::invalid, "the list has items twice");
    has_items_ = true;
    return go(State::first_item);
  }
  if (state_ == State::first_item && c == ']') return go(State::after);
  if (state_ == State::after_item && c == ',') return go(State::item);
  if (state_ == State::after_item && c == ']') return go(State::after);
  return fail(Errc::invalid, state_ == State::end ? "something follows the list" : "the list is no JSON");
}

Result<> ListReader::collect(std::string_view& bytes, const EachItem& item) {
  const auto length = scanner_.take(bytes);
  if (auto added = append(text_, bytes.substr(0, length)); !added) return added;
  bytes.remove_prefix(length);
  return scanner_.done() ? ended(item) : Result<>();
}

Result<> ListReader::ended(const EachItem& item) {
  if (state_ == State::in_item) {
    state_ = State::after_item;
    return item(text_);
  }
  if (state_ == State::in_key) {
    state_ = State::colon;
    std::swap(key_, text_);
    return {};
  }
  state_ = State::after;
  if (text_.empty()) return fail(Errc::invalid, "the list is no JSON");
  if (key_ == "\"kind\"") kind_ = text_;
  if (key_ == "\"metadata\"") {
    if (!metadata_.empty()) return fail(Errc::invalid, "the list has metadata twice");
    metadata_ = text_;
  }
  if (key_ == "\"items\"") {
    if (text_ != "null" || has_items_) return fail(Errc::invalid, "the items of the list are no list");
    has_items_ = true;
  }
  return {};
}

}  // namespace podfence::reflector
