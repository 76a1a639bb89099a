// Asking: what is asked for next, when, and what becomes of a refusal. lists.cpp and watches.cpp take the answers.
#include "enforcer/reflector/reflector.h"

#include "enforcer/reflector/revision.h"
#include "enforcer/reflector/times.h"
#include "policy/api/proto_json.h"

namespace podfence::reflector {

namespace {

/// A refusal may be JSON, protobuf, or no Status at all.
api::Status status_in(const std::string& body) {
  const bool is_message = body.starts_with(api::proto_magic);
  const auto json = is_message ? api::status_from_proto(body).value_or("") : body;
  return api::decode_status(json).value_or(api::Status{});
}

}  // namespace

std::string_view name_of(State state) {
  switch (state) {
    case State::starting:
      return "starting";
    case State::listing:
      return "listing";
    case State::watching:
      return "watching";
    case State::waiting:
      return "waiting";
    case State::absent:
      return "absent";
  }
  return "starting";
}

Reflector::Reflector(Resource resource, Budget& budget, Random random)
    : resource_(std::move(resource)), budget_(budget), random_(std::move(random)), held_(resource_.kind) {}

Actions Reflector::start(Time now) {
  Actions out;
  full_audit_at_ = now + full_audit_least + scaled(full_audit_most - full_audit_least, random_());
  ask(out, now);
  return out;
}

std::optional<Time> Reflector::deadline() const {
  std::optional<Time> first = ask_at_;
  const auto also = [&](Time t) { first = first ? std::min(*first, t) : t; };
  if (step_ == Step::asked) also(asked_at_ + longest_silence + connect_time);
  if (step_ == Step::body || step_ == Step::refused) also(last_byte_ + longest_silence);
  if (step_ == Step::initial) also(last_byte_ + (warned_ ? no_bookmark_fallback : no_bookmark_warning));
  if (step_ == Step::initial || step_ == Step::watching) also(asked_at_ + watch_time_ + watch_margin);
  if (step_ == Step::watching && full_audit_at_) also(*full_audit_at_);
  return first;
}

Reflector::Way Reflector::way(Time now) const {
  if (pages_) return whole_after_pages_ ? Way::list : Way::pages;
  if (from_cache_ || (no_watch_list_until_ && now < *no_watch_list_until_)) return Way::list;
  return Way::watch_list;
}

/// The path with the resource's selector and a query; either may be empty.
std::string Reflector::target(const std::string& query) const {
  const auto& selector = resource_.field_selector;
  const std::string first = selector.empty() ? "" : "fieldSelector=" + percent_encoded(selector);
  const std::string both = first + (first.empty() || query.empty() ? "" : "&") + query;
  return resource_.path + (both.empty() ? "" : "?") + both;
}

std::string Reflector::target_of_list(Way way) {
  if (way == Way::pages)
    return target("limit=500" + (next_page_.empty() ? "" : "&continue=" + percent_encoded(next_page_)));
  std::string revision = from_ == From::seen ? status_.cursor : "";
  if (way == Way::watch_list) {
    return target(std::string("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan") +
                  "&allowWatchBookmarks=true" +
                  (revision.empty() ? "" : "&resourceVersion=" + percent_encoded(revision)) +
                  "&timeoutSeconds=" + std::to_string(watch_time_.count()));
  }
  if (from_ == From::any && !whole_after_pages_) revision = "0";
  return target(revision.empty() ? "" : "resourceVersion=" + percent_encoded(revision));
}

std::string Reflector::target_of_watch() {
  return target("watch=1&allowWatchBookmarks=true&resourceVersion=" + percent_encoded(status_.cursor) +
                "&timeoutSeconds=" + std::to_string(watch_time_.count()));
}

void Reflector::ask(Actions& out, Time now) {
  ask_at_.reset();
  const bool lists = !watches_next_;
  if (const auto later = budget_.admit(now, lists ? Budget::For::list : Budget::For::watch)) {
    ask_at_ = later;
    return;
  }
  holds_slot_ = lists;
  step_ = Step::asked;
  open_watch_ = watches_next_;
  open_way_ = way(now);
  open_from_ = from_;
  asked_at_ = last_byte_ = now;
  watch_time_ =
      watch_time_least + std::chrono::duration_cast<std::chrono::seconds>(scaled(watch_time_spread, random_()));
  events_of_watch_ = 0;
  warned_ = false;
  refusal_.clear();
  list_ = {};
  frames_ = {};
  proto_list_ = {};
  proto_frames_ = {};
  if (lists && next_page_.empty()) held_.begin_list();
  if (status_.state != State::absent) status_.state = watches_next_ ? State::waiting : State::listing;
  out.request = Request{lists ? target_of_list(open_way_) : target_of_watch(),
                        watches_next_ || open_way_ == Way::watch_list, true};
}

void Reflector::ask_after(Duration pause, Time now) {
  ask_at_ = now + pause;
  if (status_.state != State::absent) status_.state = State::waiting;
}

Duration Reflector::pause(Time now, std::optional<std::chrono::seconds> at_least) {
  const Duration own = backoff_.next(now, random_);
  if (!at_least) return own;
  const Duration asked = std::min(*at_least, longest_retry_after);
  return std::max(own, asked + scaled(asked, random_() / 4));  // not all agents at the same moment
}

/// An expired cursor is no failure of the server, and says what to do: the list may come soon, only not from all agents
/// at once. Where it happens again and again it is treated as one.
Duration Reflector::pause_before_list(Time now) {
  const bool again = last_expired_ && now - *last_expired_ < expired_again;
  last_expired_ = now;
  return again ? pause(now) : scaled(expired_pause, 0.2 + random_());
}

void Reflector::relist(From from) {
  watches_next_ = false;
  from_ = from;
  next_page_.clear();
}

void Reflector::end_exchange() {
  if (std::exchange(holds_slot_, false)) budget_.list_ended();
  step_ = Step::none;
}

void Reflector::close(Actions& out) {
  end_exchange();
  out.close = true;
}

Actions Reflector::on_timer(Time now) {
  Actions out;
  if (ask_at_ && now >= *ask_at_) {
    ask(out, now);
    return out;
  }
  const auto due = [&](Time t) { return now >= t; };
  if ((step_ == Step::asked && due(asked_at_ + longest_silence + connect_time)) ||
      ((step_ == Step::body || step_ == Step::refused) && due(last_byte_ + longest_silence))) {
    close(out);
    fail(out, "no answer in time", now);
  } else if ((step_ == Step::initial || step_ == Step::watching) && due(asked_at_ + watch_time_ + watch_margin)) {
    const bool was_initial = step_ == Step::initial;
    close(out);
    if (was_initial) {
      fail(out, "the list as a watch did not end in time", now);
    } else {
      ask(out, now);
    }
  } else if (step_ == Step::initial && warned_ && due(last_byte_ + no_bookmark_fallback)) {
    close(out);
    fall_back_to_list(out, "the list as a watch has no end", now);
  } else if (step_ == Step::initial && !warned_ && due(last_byte_ + no_bookmark_warning)) {
    warned_ = true;
    out.notes.push_back(resource_.name + ": the list as a watch pauses before its end");
  } else if (step_ == Step::watching && full_audit_at_ && due(*full_audit_at_)) {
    full_audit_at_ = now + full_audit_least + scaled(full_audit_most - full_audit_least, random_());
    close(out);
    relist(From::latest);
    audits_ = true;
    ask(out, now);
  }
  return out;
}

Actions Reflector::on_response_head(const Head& head, Time now) {
  Actions out;
  head_ = head;
  proto_ = is_proto(head);
  last_byte_ = now;
  status_.last_contact = now;
  if (head.status != 200) {
    step_ = Step::refused;
    if (!is_encoded(head)) return out;
    close(out);  // the status is all that can be read
    judge_refusal(out, now);
  } else if (is_encoded(head)) {
    close(out);
    fail(out, "answers with Content-Encoding '" + printable(head.content_encoding) + "', which was not asked for", now);
  } else if (!is_json(head) && !is_proto(head)) {
    close(out);
    fail(out, "answers with content of type '" + head.content_type.substr(0, 100) + "'", now);
  } else if (open_watch_) {
    step_ = Step::watching;
    status_.state = State::watching;
    status_.error.clear();
    if (std::exchange(was_away_, false)) audit_on_return(now);
  } else {
    step_ = open_way_ == Way::watch_list ? Step::initial : Step::body;
  }
  return out;
}

Actions Reflector::on_bytes(std::string_view bytes, Time now) {
  Actions out;
  last_byte_ = now;
  warned_ = false;
  status_.last_contact = now;
  status_.bytes += bytes.size();
  if (step_ == Step::body) {
    take_list(out, bytes, now);
  } else if (step_ == Step::initial || step_ == Step::watching) {
    take_frames(out, bytes, now);
    judge_count(out, now);
  } else if (step_ == Step::refused) {
    refusal_.append(bytes.substr(0, longest_refusal - refusal_.size()));
    if (refusal_.size() < longest_refusal) return out;
    close(out);
    judge_refusal(out, now);
  }
  return out;
}

Actions Reflector::on_close(const Closed& closed, Time now) {
  Actions out;
  const Step step = step_;
  end_exchange();
  if (step == Step::refused) {
    judge_refusal(out, now);
  } else if (step == Step::body && closed.whole) {
    end_list_body(out, now);
  } else if (step == Step::watching) {
    end_watch(out, closed, now);
  } else if (step != Step::none) {
    lost(out, closed, now);
  }
  return out;
}

/// No answer, or half of one: nothing is known that was not known before.
void Reflector::lost(Actions& out, const Closed& closed, Time now) {
  was_away_ = true;
  fail(out, closed.why.empty() ? "the answer broke off" : closed.why, now);
}

void Reflector::fail(Actions& out, std::string why, Time now) {
  status_.error = std::move(why);
  out.notes.push_back(resource_.name + ": " + status_.error);
  if (!watches_next_ && next_page_.empty()) held_.begin_list();
  ask_after(pause(now), now);
}

void Reflector::judge_refusal(Actions& out, Time now) {
  auto status = status_in(refusal_);
  status.code = static_cast<int>(head_.status);
  if (status.message.empty()) status.message = printable(refusal_.substr(0, 200));
  if (is_encoded(head_)) status.message = "a text with Content-Encoding '" + printable(head_.content_encoding) + "'";
  status_.error = "answered " + std::to_string(status.code) + (status.message.empty() ? "" : ": " + status.message);
  if (!head_.flow_schema.empty()) status_.error += " (flow schema " + printable(head_.flow_schema) + ")";
  out.notes.push_back(resource_.name + ": " + status_.error);
  out.unauthorized = status.code == 401;
  if (status.code == 410) ++status_.expired;
  if (judge_absence(out, status, now)) return;
  if (status_.state == State::absent) status_.state = State::waiting;
  if (open_watch_) {
    refuse_watch(out, status, now);
  } else {
    refuse_list(out, status, now);
  }
}

/// An API that is not there. Objects that were there stay in force: a definition may be on its way from one version to
/// the next. It is looked for again, slowly.
bool Reflector::judge_absence(Actions&, const api::Status& status, Time now) {
  if (status.code != 404) return false;
  relist(from_);
  pages_ = false;
  status_.state = State::absent;
  if (!resource_.required && !was_present_) status_.synced = true;
  ask_after(absence_probe + scaled(absence_probe, random_()), now);
  return true;
}

void Reflector::refuse_watch(Actions&, const api::Status& status, Time now) {
  if (status.code == 410) {
    relist(From::seen);
    return ask_after(pause_before_list(now), now);
  }
  const bool keeps_cursor = status.code == 429 || status.code >= 500 || status.code == 401 || status.code == 403;
  if (!keeps_cursor) relist(From::seen);
  was_away_ = was_away_ || status.code >= 500;
  ask_after(pause(now, head_.retry_after), now);
}

void Reflector::refuse_list(Actions& out, const api::Status& status, Time now) {
  const bool too_new = has_cause(status, "ResourceVersionTooLarge");
  if (open_way_ == Way::pages && status.code == 410 && !next_page_.empty()) {
    whole_after_pages_ = true;
    relist(From::latest);
  } else if (status.code == 410 || too_new) {
    relist(From::latest);
    if (open_from_ == From::seen) return ask_after(scaled(expired_pause, 0.2 + random_()), now);  // one step further
  } else if (open_way_ == Way::watch_list && status.code >= 400 && status.code < 500 && status.code != 429 &&
             status.code != 401) {
    return fall_back_to_list(out, status_.error, now);
  } else if (!status_.synced && open_from_ != From::seen && status.code >= 500) {
    from_cache_ = true;  // a cache may answer where the database cannot
    relist(From::any);
  }
  if (status.code == 429 || (status.code == 504 && !too_new)) {
    pages_ = pages_ || ++overloads_ >= most_overloads;
  }
  auto at_least = head_.retry_after;
  if (status.retry_after_seconds > 0) {
    at_least = std::max(at_least.value_or(std::chrono::seconds(0)), std::chrono::seconds(status.retry_after_seconds));
  }
  ask_after(pause(now, at_least), now);
}

/// For a while, and for this type only: servers before 1.32 and some in front of them know no list as a watch.
void Reflector::fall_back_to_list(Actions& out, const std::string& why, Time now) {
  no_watch_list_until_ = now + watch_list_again;
  out.notes.push_back(resource_.name + ": no list as a watch (" + why + "): lists as before");
  ask(out, now);
}

}  // namespace podfence::reflector
