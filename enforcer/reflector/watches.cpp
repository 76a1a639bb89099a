// Watches: events in the order of the cursor, their end, and what audits found.
#include "enforcer/reflector/reflector.h"
#include "enforcer/reflector/revision.h"
#include "enforcer/reflector/times.h"
#include "policy/api/proto_json.h"

namespace podfence::reflector {

void Reflector::take_frames(Actions& out, std::string_view bytes, Time now) {
  const auto take = [&](std::string_view frame) { return take_event(out, frame, now); };
  const auto taken = proto_ ? proto_frames_.take(bytes, take) : frames_.take(bytes, take);
  if (taken) return;
  close(out);
  relist(from_);
  fail(out, "a watch that cannot be read: " + taken.error().what(), now);
}

/// Its database may be one restored from a backup, and have come past the cursor since: then the watch goes on as if
/// nothing had been, and what was changed after the backup would stay in force as it never was (C4).
void Reflector::audit_on_return(Time now) {
  const bool all_pods =
      resource_.kind == api::Kind::pod && resource_.namespace_.empty() && resource_.field_selector.empty();
  const Duration least = all_pods ? Duration(return_audit_of_pods_least) : Duration(return_audit_least);
  const Duration most = all_pods ? Duration(return_audit_of_pods_most) : Duration(return_audit_most);
  const Time at = now + least + scaled(most - least, random_());
  full_audit_at_ = full_audit_at_ ? std::min(*full_audit_at_, at) : at;
}

/// False: the rest of the stream is not wanted.
bool Reflector::take_event(Actions& out, std::string_view frame, Time now) {
  Result<std::string> text;
  if (proto_) text = api::event_from_proto(resource_.kind, frame);
  Result<api::WatchEvent> event = podfence::fail(Errc::invalid, "no protobuf");
  if (text) event = held_.decoder().event(proto_ ? std::string_view(*text) : frame);
  if (!event) {
    close(out);
    relist(from_);
    fail(out, "an event that cannot be read: " + event.error().what(), now);
    return false;
  }
  if (event->type == api::EventType::error) {
    judge_error(out, event->status, now);
    return false;
  }
  if (event->type == api::EventType::unknown || event->head.resource_version.empty()) {
    ++status_.skipped;
    return true;
  }
  ++events_of_watch_;
  if (step_ == Step::initial) return take_initial(out, *event, now);
  take_change(out, *event, now);
  return true;
}

void Reflector::take_change(Actions& out, const api::WatchEvent& event, Time now) {
  const auto& revision = event.head.resource_version;
  check_count(revision, true);
  if (event.type != api::EventType::bookmark) {
    auto events = event.type == api::EventType::deleted ? held_.remove(event.head) : held_.put(event.head);
    out.events.insert(out.events.end(), std::make_move_iterator(events.begin()), std::make_move_iterator(events.end()));
    ++status_.events;
    status_.last_event = now;
    status_.possibly_stale = false;
  }
  advance(revision);
  check_count(revision, false);
  server_errors_since_.reset();
}

void Reflector::advance(const std::string& revision) {
  if (compare_revisions(revision, status_.cursor) > 0) status_.cursor = revision;
}

void Reflector::judge_error(Actions& out, const api::Status& status, Time now) {
  close(out);
  status_.error = "the watch ended with " + std::to_string(status.code) + ": " + printable(status.message);
  out.notes.push_back(resource_.name + ": " + status_.error);
  if (status.code == 410) ++status_.expired;
  if (!watches_next_) return refuse_list(out, status, now);
  if (status.code == 500) {
    if (!server_errors_since_) server_errors_since_ = now;
    if (now - *server_errors_since_ > longest_server_errors) relist(From::seen);
  } else if (status.code == 410) {
    relist(From::seen);
    return ask_after(pause_before_list(now), now);
  } else if (status.code != 429) {
    relist(From::seen);
  }
  std::optional<std::chrono::seconds> at_least;
  if (status.retry_after_seconds > 0) at_least = std::chrono::seconds(status.retry_after_seconds);
  ask_after(pause(now, at_least), now);
}

/// Servers end watches all the time, clean or not. One that ends at once is not asked for at once again.
void Reflector::end_watch(Actions& out, const Closed& closed, Time now) {
  if (!closed.whole) status_.error = closed.why.empty() ? "the watch was cut" : closed.why;
  if (events_of_watch_ == 0 && now - asked_at_ < very_short_watch) {
    status_.error = "a very short watch";
    return ask_after(pause(now), now);
  }
  ask(out, now);
}

Actions Reflector::on_count(const Count& count, Time now) {
  Actions out;
  if (!status_.synced || step_ != Step::watching) return out;
  status_.possibly_stale = false;
  if (!count.cursor_before.empty() && compare_revisions(count.revision, count.cursor_before) < 0) {
    out.notes.push_back(resource_.name + ": the server's history went back to " + printable(count.revision));
    close(out);
    relist(From::latest);
    ask(out, now);
    return out;
  }
  if (!count.objects) return out;
  const bool is_past = compare_revisions(count.revision, status_.cursor) < 0;
  if (is_past && count.events_before != status_.events) return out;  // says nothing: the store has gone on since
  to_check_ = count;
  if (is_past || count.revision == status_.cursor) {
    count_result_ = held_.size() == count.objects;
    to_check_.reset();
  }
  judge_count(out, now);
  return out;
}

/// One difference may be a matter of the moment; the second in a row is none.
void Reflector::judge_count(Actions& out, Time now) {
  if (!count_result_ || step_ != Step::watching) return;
  const bool differs = !*std::exchange(count_result_, std::nullopt);
  if (!std::exchange(count_differed_, differs) || !differs) return;
  count_differed_ = false;
  ++status_.missed_events;
  out.notes.push_back(resource_.name + ": the server has not the " + std::to_string(held_.size()) +
                      " objects that the store has");
  close(out);
  relist(From::latest);
  ask(out, now);
}

/// The store is at the count's revision when the event at it has been applied, or when a later one comes.
void Reflector::check_count(const std::string& revision, bool before) {
  if (!to_check_) return;
  const auto order = compare_revisions(revision, to_check_->revision);
  if (before ? order <= 0 : order != 0) return;
  count_result_ = held_.size() == to_check_->objects;
  to_check_.reset();
}

}  // namespace podfence::reflector
