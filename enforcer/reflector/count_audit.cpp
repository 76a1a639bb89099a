#include "enforcer/reflector/count_audit.h"

#include "enforcer/reflector/times.h"

namespace podfence::reflector {

CountAudit::CountAudit(Reflector& reflector, Budget& budget, Random random, Duration interval)
    : reflector_(reflector), budget_(budget), random_(std::move(random)), interval_(interval) {}

void CountAudit::start(Time now) {
  later(now);
}

void CountAudit::later(Time now) {
  open_ = false;
  at_ = now + interval_ + scaled(interval_, random_());
}

CountAudit::Due CountAudit::on_timer(Time now) {
  if (!at_ || now < *at_) return {};
  if (open_) {
    later(now);
    return {.close = true, .request = {}};
  }
  if (!reflector_.status().synced) {
    later(now);
    return {};
  }
  if (const auto again = budget_.admit(now, Budget::For::audit)) {
    at_ = again;
    return {};
  }
  open_ = true;
  fine_ = false;
  list_ = {};
  items_ = 0;
  before_ = {{}, {}, reflector_.status().cursor, reflector_.status().events};
  at_ = now + connect_time + longest_silence;
  return {.close = false, .request = Request{reflector_.resource().path + "?limit=1", false, false}};
}

void CountAudit::on_response_head(const Head& head, Time now) {
  fine_ = head.status == 200 && is_json(head) && !is_encoded(head);
  at_ = now + longest_silence;
}

bool CountAudit::on_bytes(std::string_view bytes, Time now) {
  at_ = now + longest_silence;
  const auto count = [&](std::string_view) -> Result<> {
    ++items_;
    return {};
  };
  if (!fine_ || list_.take(bytes, count)) return true;
  later(now);
  return false;
}

Actions CountAudit::on_close(const Closed& closed, Time now) {
  later(now);
  if (!fine_ || !closed.whole || !list_.done()) return {};
  const auto meta = api::decode_list_meta(list_.metadata());
  if (!meta || meta->resource_version.empty()) return {};
  before_.revision = meta->resource_version;
  // Servers do not count what a selector leaves out; the revision is that of the whole database in any case.
  if (reflector_.resource().field_selector.empty()) before_.objects = items_ + meta->remaining;
  return reflector_.on_count(before_, now);
}

}  // namespace podfence::reflector
