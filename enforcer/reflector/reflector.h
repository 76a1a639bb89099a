#pragma once
// Keeps the store in step with one type of object of the API server: lists, then watches, then lists again where the
// watch cannot go on. It does no I/O and asks no clock: it is told what came and what time it is, and answers what to
// do. Rows L, W, S and B of the list/watch rules are its contract; tests/enforcer/reflector has one test for each.
//
// Invariants: what is in the store goes only by an event that names it or by a list that is complete; an answer that is
// no list (401, 403, 404, 5xx, half a body) changes nothing; the cursor never moves before its event is handed over.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/reflector/exchange.h"
#include "enforcer/reflector/held.h"
#include "enforcer/reflector/pace.h"
#include "enforcer/reflector/proto_stream.h"
#include "enforcer/reflector/resource.h"
#include "enforcer/reflector/scan.h"

namespace podfence::reflector {

class Reflector {
 public:
  /// `budget` outlives it.
  Reflector(Resource resource, Budget& budget, Random random);

  Actions start(Time now);
  Actions on_response_head(const Head& head, Time now);
  Actions on_bytes(std::string_view bytes, Time now);
  Actions on_close(const Closed& closed, Time now);
  Actions on_timer(Time now);
  /// It is not driven any further: what it held of the budget goes back.
  void abandon() { end_exchange(); }
  /// When to call on_timer; it may change with every call.
  std::optional<Time> deadline() const;

  /// What an audit counted (count_audit.h): how many objects there were at a revision, and what was known when it
  /// asked.
  struct Count {
    std::string revision;
    std::optional<std::uint64_t> objects = {};  // nothing: just the revision was asked for
    std::string cursor_before;
    std::uint64_t events_before = 0;
  };
  Actions on_count(const Count& count, Time now);

  const Resource& resource() const { return resource_; }
  const ReflectorStatus& status() const { return status_; }
  std::size_t objects() const { return held_.size(); }
  const Held& held() const { return held_; }
  const std::map<std::string, Problem>& problems() const { return held_.problems(); }

 private:
  enum class Step : std::uint8_t { none, asked, body, initial, watching, refused };
  enum class From : std::uint8_t { any, seen, latest };  // resourceVersion=0, the cursor, none
  enum class Way : std::uint8_t { watch_list, list, pages };

  // Asking.
  void ask(Actions& out, Time now);
  void ask_after(Duration pause, Time now);
  std::string target(const std::string& query) const;
  std::string target_of_list(Way way);
  std::string target_of_watch();
  Way way(Time now) const;
  void relist(From from);
  void end_exchange();
  void close(Actions& out);
  Duration pause(Time now, std::optional<std::chrono::seconds> at_least = {});
  Duration pause_before_list(Time now);

  // Answers that are none.
  void judge_refusal(Actions& out, Time now);
  void refuse_list(Actions& out, const api::Status& status, Time now);
  void refuse_watch(Actions& out, const api::Status& status, Time now);
  void lost(Actions& out, const Closed& closed, Time now);
  void fail(Actions& out, std::string why, Time now);
  bool judge_absence(Actions& out, const api::Status& status, Time now);

  // Lists.
  void take_list(Actions& out, std::string_view bytes, Time now);
  void end_list_body(Actions& out, Time now);
  Result<api::ListMeta> list_meta() const;
  void complete(Actions& out, const std::string& revision, Time now);
  void fall_back_to_list(Actions& out, const std::string& why, Time now);

  // Watches.
  void take_frames(Actions& out, std::string_view bytes, Time now);
  bool take_event(Actions& out, std::string_view frame, Time now);
  void take_change(Actions& out, const api::WatchEvent& event, Time now);
  bool take_initial(Actions& out, const api::WatchEvent& event, Time now);
  void judge_error(Actions& out, const api::Status& status, Time now);
  void end_watch(Actions& out, const Closed& closed, Time now);
  void advance(const std::string& revision);
  void audit_on_return(Time now);
  void check_count(const std::string& revision, bool before);
  void judge_count(Actions& out, Time now);

  Resource resource_;
  Budget& budget_;
  Random random_;
  Backoff backoff_;
  Held held_;
  ReflectorStatus status_;

  // What is asked for next, and how.
  bool watches_next_ = false;
  From from_ = From::any;
  bool from_cache_ = false;  // at the first list: the server cannot read its database
  bool pages_ = false;
  bool whole_after_pages_ = false;
  std::string next_page_;
  unsigned overloads_ = 0;  // lists in a row that were refused as too much
  std::optional<Time> no_watch_list_until_;
  std::optional<Time> ask_at_;

  // The exchange that is open.
  Step step_ = Step::none;
  Way open_way_ = Way::list;
  From open_from_ = From::any;
  bool open_watch_ = false;
  bool holds_slot_ = false;  // of the budget's lists
  Time asked_at_;
  Time last_byte_;
  std::chrono::seconds watch_time_{0};
  std::uint64_t events_of_watch_ = 0;
  bool warned_ = false;
  Head head_;
  std::string refusal_;
  bool proto_ = false;  // how the answer is written
  ListReader list_;
  FrameReader frames_;
  ProtoListReader proto_list_;
  ProtoFrameReader proto_frames_;

  std::optional<Time> last_expired_;         // a watch whose cursor was
  std::optional<Time> server_errors_since_;  // ERROR events with code 500 on this cursor
  std::optional<Time> full_audit_at_;
  bool audits_ = false;    // the list that is open was asked for by an audit
  bool was_away_ = false;  // the server, since the watch before
  bool was_present_ = false;
  std::optional<Count> to_check_;
  bool count_differed_ = false;
  std::optional<bool> count_result_;
};

}  // namespace podfence::reflector
