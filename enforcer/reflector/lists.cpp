// Lists: a body item by item, pages, and the list as a watch. The store changes when a list is complete, and not
// before.
#include "enforcer/reflector/reflector.h"
#include "enforcer/reflector/revision.h"
#include "enforcer/reflector/times.h"
#include "policy/api/proto_json.h"

namespace podfence::reflector {

void Reflector::take_list(Actions& out, std::string_view bytes, Time now) {
  const auto stage = [&](std::string_view text) -> Result<> {
    const auto head = held_.decoder().item(text);
    if (!head) return podfence::fail(head.error());
    held_.stage(*head, status_.cursor);
    return {};
  };
  const auto stage_message = [&](std::string_view message) -> Result<> {
    const auto text = api::object_from_proto(resource_.kind, message);
    return text ? stage(*text) : podfence::fail(text.error());
  };
  const auto taken = proto_ ? proto_list_.take(bytes, stage_message) : list_.take(bytes, stage);
  if (taken) return;
  close(out);
  relist(from_);
  fail(out, "a list that cannot be read: " + taken.error().what(), now);
}

/// Of a body that was whole and a list.
Result<api::ListMeta> Reflector::list_meta() const {
  if (proto_) {
    if (!proto_list_.done()) return podfence::fail(Errc::invalid, "no list");
    const auto text = api::list_meta_from_proto(proto_list_.metadata());
    return text ? api::decode_list_meta(*text) : podfence::fail(text.error());
  }
  const bool is_list = list_.kind().empty() || list_.kind().ends_with("List\"");
  if (!list_.done() || !list_.has_items() || !is_list) return podfence::fail(Errc::invalid, "no list");
  return api::decode_list_meta(list_.metadata());
}

void Reflector::end_list_body(Actions& out, Time now) {
  const auto meta = list_meta();
  if (!meta || meta->resource_version.empty()) {
    relist(from_);
    return fail(out, "a list that is not whole", now);
  }
  if (!meta->next_page.empty()) {
    next_page_ = meta->next_page;
    return ask(out, now);
  }
  next_page_.clear();
  // A replica that is behind: what is newer stays, and is asked for. A read from the database itself is never behind:
  // there it is the history that went back.
  const bool is_older = !status_.cursor.empty() && compare_revisions(meta->resource_version, status_.cursor) < 0;
  if (is_older && open_from_ != From::latest) {
    relist(From::seen);
    return fail(out, "a list older than what is known", now);
  }
  complete(out, meta->resource_version, now);
  ask(out, now);
}

void Reflector::complete(Actions& out, const std::string& revision, Time now) {
  if (std::exchange(holds_slot_, false)) budget_.list_ended();
  auto difference = held_.end_list();
  if (!status_.cursor.empty() && compare_revisions(revision, status_.cursor) < 0) ++status_.rollbacks;
  const bool same_moment = revision == status_.cursor;
  const auto missed = difference.old_news + (same_moment ? difference.gone : 0);
  if (status_.synced && status_.lists > 0) status_.missed_events += missed;
  if (std::exchange(audits_, false)) {
    out.notes.push_back(resource_.name + ": audit: " + std::to_string(difference.changed + difference.gone) +
                        " differences, " + std::to_string(missed) + " events missed");
  }
  out.events = std::move(difference.events);
  status_.possibly_stale = std::exchange(from_cache_, false);
  status_.cursor = revision;
  status_.synced = true;
  status_.state = State::watching;
  status_.error.clear();
  status_.last_event = now;
  ++status_.lists;
  was_present_ = true;
  was_away_ = false;
  watches_next_ = true;
  from_ = From::seen;
  pages_ = whole_after_pages_ = count_differed_ = false;
  overloads_ = 0;
  to_check_.reset();
  server_errors_since_.reset();
}

/// False: the rest of the stream is not wanted.
bool Reflector::take_initial(Actions& out, const api::WatchEvent& event, Time now) {
  if (event.type == api::EventType::deleted) {
    close(out);
    fail(out, "an object went within a list", now);
    return false;
  }
  if (event.type != api::EventType::bookmark) {
    held_.stage(event.head, status_.cursor);
    return true;
  }
  if (!event.ends_initial_events) return true;
  const auto& revision = event.head.resource_version;
  const bool is_older = !status_.cursor.empty() && compare_revisions(revision, status_.cursor) < 0;
  if (revision.empty() || (is_older && open_from_ != From::latest)) {
    close(out);
    relist(From::seen);
    fail(out, "a list older than what is known", now);
    return false;
  }
  complete(out, revision, now);
  step_ = Step::watching;
  open_watch_ = true;
  return true;
}

}  // namespace podfence::reflector
