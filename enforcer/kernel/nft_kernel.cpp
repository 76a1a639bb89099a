#include "enforcer/kernel/nft_kernel.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "enforcer/netlink/dump.h"
#include "enforcer/netlink/objects.h"
#include "enforcer/netlink/transaction.h"

namespace podfence::kernel {
namespace {

constexpr int commit_attempts = 50;
constexpr std::chrono::milliseconds longest_pause{20};
// One answer for each refused message, and a batch of a large install has hundreds of messages.
constexpr std::size_t answer_buffer = 1024 * 1024;

Refusal refusal(Error error) {
  return {std::move(error), std::nullopt, std::nullopt};
}

void pause_before(int attempt) {
  std::this_thread::sleep_for(std::min(std::chrono::milliseconds(attempt), longest_pause));
}

}  // namespace

Result<std::unique_ptr<NftKernel>> NftKernel::open(const NftOptions& options) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  socket->grow_receive_buffer(answer_buffer);
  std::unique_ptr<NftKernel> kernel(new NftKernel(std::move(*socket), options.own_table));
  if (options.own_table) {
    if (auto adopted = kernel->adopt(); !adopted) return fail(adopted.error());
  }
  return kernel;
}

template <class Build>
tl::expected<void, Refusal> NftKernel::transact(bool needs_table, Build build) {
  bool built = false;
  for (int attempt = 1;; ++attempt) {
    const auto generation = netlink::generation(socket_);
    if (!generation) return tl::unexpected(refusal(generation.error()));
    if (!built || needs_table) {
      std::optional<netlink::TableInfo> table;
      if (needs_table) {
        auto found = netlink::find_table(socket_);
        if (!found) return tl::unexpected(refusal(found.error()));
        table = *found;
      }
      batch_.clear();
      build(table);
      built = true;
    }
    if (batch_.empty()) return {};
    const auto refused = netlink::send_batch(socket_, batch_, *generation);
    if (!refused) return tl::unexpected(refusal(Error(refused.error()).in("nftables commit, outcome unknown")));
    if (refused->empty()) return {};
    const bool moved = std::any_of(refused->begin(), refused->end(), [](const netlink::Ack& ack) {
      return ack.error == ERESTART || ack.error == EAGAIN;
    });
    if (moved && attempt < commit_attempts) {
      pause_before(attempt);
      continue;
    }
    return tl::unexpected(refusal_of(*refused));
  }
}

Refusal NftKernel::refusal_of(const std::vector<netlink::Ack>& refused) const {
  // The first one that names an element is the cause; without one, the first.
  for (const auto& ack : refused) {
    const auto culprit = batch_.culprit(ack.sequence, ack.offset);
    if (!culprit) continue;
    std::string what = std::string(culprit->removal ? "removing from " : "adding to ").append(name_of(culprit->set));
    if (culprit->element) what += " { " + text_of(culprit->set, *culprit->element) + " }";
    return {Error(netlink::errc_of(ack.error), "nftables: " + what + ": " + netlink::describe(ack)), culprit->set,
            culprit->element};
  }
  const auto& first = refused.front();
  return refusal(Error(netlink::errc_of(first.error), "nftables commit: " + netlink::describe(first)));
}

tl::expected<void, Refusal> NftKernel::commit(const diff::Changes& changes) {
  if (changes.empty()) return {};
  bool behind_hook = false;
  const auto replace = [&](std::uint32_t table_flags, bool may_keep_hook) {
    return transact(changes.install, [&](const std::optional<netlink::TableInfo>& table) {
      std::optional<netlink::Contents> replaced;
      if (table) replaced.emplace();
      if (table && may_keep_hook) {
        if (auto contents = netlink::contents_of(socket_, *table, table_flags)) replaced = std::move(*contents);
      }
      behind_hook = replaced && replaced->keeps_hook;
      netlink::encode(batch_, changes, replaced, table_flags);
    });
  };
  const auto send = [&](std::uint32_t table_flags) {
    auto done = replace(table_flags, true);
    // Whatever stands in the way goes with the table. An element that is refused would be so again.
    if (!done && changes.install && behind_hook && !done.error().set) done = replace(table_flags, false);
    return done;
  };
  auto done = send(own_ ? netlink::owned_and_persistent : 0);
  if (!done && changes.install && own_ && !done.error().set && done.error().error.code() == Errc::refused) {
    // A kernel before 6.9 refuses the flags. Without them the watcher has to do.
    if (auto plain = send(0)) {
      own_ = false;
      done = plain;
    }
  }
  batch_.clear();
  return done;
}

Result<> NftKernel::adopt() {
  const auto table = netlink::find_table(socket_);
  if (!table) return fail(table.error());
  const bool orphan = *table && !(*table)->owner && ((*table)->flags & netlink::persistent) != 0;
  if (!orphan) return {};
  const auto taken =
      transact(false, [&](const auto&) { netlink::put_table(batch_, netlink::owned_and_persistent, false); });
  batch_.clear();
  if (!taken) return fail(Error(taken.error().error).in("taking over the table"));
  return {};
}

Result<bool> NftKernel::owns_table() {
  const auto table = netlink::find_table(socket_);
  if (!table) return fail(table.error());
  return *table && (*table)->owner == socket_.port_id();
}

Result<Readback> NftKernel::read() {
  auto dump = netlink::dump_table(socket_);
  if (!dump) return fail(dump.error());
  return Readback{dump->present, dump->present && dump->damage.empty(), std::move(dump->damage),
                  std::move(dump->program)};
}

Result<bool> NftKernel::has(program::SetId set, const program::Element& element) {
  return netlink::has_element(socket_, set, element);
}

Result<std::map<std::string, Counter>> NftKernel::counters() {
  const auto values = netlink::dump_counters(socket_);
  if (!values) return fail(values.error());
  std::map<std::string, Counter> counters;
  for (const auto& [name, value] : *values) counters[name] = {value.packets, value.bytes};
  return counters;
}

Result<std::map<program::TallyKey, Counter>> NftKernel::tallies() {
  std::map<program::TallyKey, Counter> tallies;
  for (const auto direction : net::directions) {
    const auto values = netlink::dump_tally(socket_, direction);
    if (!values) return fail(values.error());
    for (const auto& [number, value] : *values) {
      tallies[{direction, number}] = {value.packets, value.bytes};
    }
  }
  return tallies;
}

Result<> NftKernel::forget_tallies(const std::vector<program::TallyKey>& keys) {
  const auto done = transact(false, [&](const auto&) {
    for (const auto& key : keys) netlink::delete_tally(batch_, key);
  });
  batch_.clear();
  if (!done) return fail(Error(done.error().error).in("policy counters"));
  return {};
}

Result<> NftKernel::purge() {
  const auto done = transact(true, [&](const std::optional<netlink::TableInfo>& table) {
    if (table) netlink::delete_table(batch_);
  });
  batch_.clear();
  if (!done) return fail(Error(done.error().error).in("deleting the table"));
  return {};
}

}  // namespace podfence::kernel
