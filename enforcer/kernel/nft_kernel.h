#pragma once
// The kernel port on nftables. One socket for all commits: where the table is owned, that socket is the owner.
#include <memory>

#include "enforcer/kernel/kernel.h"
#include "enforcer/netlink/batch.h"
#include "enforcer/netlink/socket.h"

namespace podfence::kernel {

struct NftOptions {
  /// Own the table, so that no other process can change or flush it, where the kernel has owner and persist together
  /// (6.9). Off unless asked for, because of nft before 1.1: it lists an owned table as one that goes away as soon as
  /// it has been reloaded, and after the owner's death it cannot reload its own listing, and `nft -j` prints random
  /// memory. Without it, Watch hears of foreign changes.
  bool own_table = false;
};

class NftKernel : public Kernel {
 public:
  /// Takes over the table that an owner left behind, when asked to own.
  static Result<std::unique_ptr<NftKernel>> open(const NftOptions& options = {});

  tl::expected<void, Refusal> commit(const diff::Changes& changes) override;
  Result<Readback> read() override;
  Result<bool> has(program::SetId set, const program::Element& element) override;
  Result<std::map<std::string, Counter>> counters() override;

  /// Denied packets of isolated pods, by the number of the policies that isolate them (compile/policy_set.h).
  /// Exact: a packet is counted under the number that its own look-up found.
  Result<std::map<program::TallyKey, Counter>> tallies();
  /// Their counters go, all or none; one that is still in use begins anew. not_found: not all are there.
  Result<> forget_tallies(const std::vector<program::TallyKey>& keys);

  /// Deletes our table, if there is one: nothing of ours is left.
  Result<> purge();

  /// Whether the table is ours alone at the moment.
  Result<bool> owns_table();
  /// For the watcher, which passes over what we did ourselves.
  std::uint32_t port_id() const { return socket_.port_id(); }

 private:
  NftKernel(netlink::Socket socket, bool own) : socket_(std::move(socket)), own_(own) {}

  /// Builds (by `build`, given the table's presence) and sends until the generation stands still.
  template <class Build>
  tl::expected<void, Refusal> transact(bool needs_table, Build build);
  Refusal refusal_of(const std::vector<netlink::Ack>& refused) const;
  Result<> adopt();

  netlink::Socket socket_;
  netlink::Batch batch_;
  bool own_;  // asked for and not refused by the kernel
};

}  // namespace podfence::kernel
