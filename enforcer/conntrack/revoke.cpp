#include "enforcer/conntrack/revoke.h"

#include <vector>

namespace podfence::conntrack {

Result<Revoked> revoke(netlink::Socket& socket, std::uint8_t label_bit,
                       const std::function<bool(const net::Flow&)>& still_allowed) {
  Revoked revoked;
  std::vector<Entry> labelled;
  auto walked = walk(socket, [&](const Entry& entry) {
    ++revoked.walked;
    if (entry.has_label(label_bit)) labelled.push_back(entry);
  });
  if (!walked) return fail(walked.error());
  for (const auto& entry : labelled) {
    ++revoked.labelled;
    if (still_allowed(entry.forwarded())) continue;
    const auto cleared = clear_label(socket, entry, label_bit);
    if (!cleared) return fail(cleared.error());
    revoked.cleared += *cleared ? 1U : 0U;
  }
  return revoked;
}

}  // namespace podfence::conntrack
