#pragma once
// Brings what changed into the kernel and does what follows from it: commits, tries again, watches for foreign changes
// and repairs them, and cuts established flows that are forbidden now.
//
//   take, attach ──► Reconciler ──commit──► NftKernel ◄──read── verify ◄── Watch (nftables notifications), timer
//                        │ may_cut_flows
//                        ▼
//                   conntrack::revoke
//
// One thread: everything runs on the io_context.
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "enforcer/agent/agent.h"
#include "enforcer/agent/reconciler.h"
#include "enforcer/agent/status.h"
#include "enforcer/kernel/nft_kernel.h"
#include "enforcer/kernel/watch.h"
#include "enforcer/netlink/socket.h"

namespace podfence::agent {

class Commits {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /// The kernel holds all that was taken before, since some point between the two; also when it held it already.
    virtual void on_committed(Clock::time_point begin, Clock::time_point end) = 0;
    virtual void on_drift_repaired(Clock::time_point when, const std::string& by) = 0;
    /// Every established flow that the kernel's program forbids has been cut.
    virtual void on_flows_cut() = 0;
  };

  /// `config`, `activity` and `listener` outlive it.
  static Result<std::unique_ptr<Commits>> open(boost::asio::io_context& io, const Config& config, Activity& activity,
                                               Listener& listener);

  /// Compiled at once, committed by the next now() or soon().
  void take(std::vector<store::Event> events) { reconciler_.take(std::move(events)); }
  void attach(std::span<const net::IpAddr> addresses) { reconciler_.attach(addresses); }

  /// Commits what waits. The first call is the first that writes; before it, soon() does nothing.
  void now();
  /// After the requests that are here already: they share the commit.
  void soon();

  /// Established flows of these addresses (sorted) are judged anew. A walk of conntrack.
  Result<> end_flows(const std::vector<net::IpAddr>& addresses);

  /// Takes no more notifications.
  void stop();

  bool started() const { return reconciler_.started(); }
  const Reconciler& reconciler() const { return reconciler_; }
  const compile::Compiler& compiler() const { return reconciler_.compiler(); }
  kernel::NftKernel& kernel() { return *kernel_; }

 private:
  Commits(boost::asio::io_context& io, const Config& config, Activity& activity, Listener& listener,
          std::unique_ptr<kernel::NftKernel> kernel, kernel::Watch watch, netlink::Socket conntrack);
  void on_outcome(const Outcome& outcome, Clock::time_point begin);
  void retry_later(const std::string& error);
  void wait_for_news();
  void on_news();
  void verify(const std::string& by);
  void verify_later();
  void revoke_soon();
  void revoke();
  template <class Then>
  static void after(boost::asio::steady_timer& timer, std::chrono::milliseconds pause, Then then) {
    timer.expires_after(pause);
    timer.async_wait([then](boost::system::error_code ec) {
      if (!ec) then();
    });
  }

  boost::asio::io_context& io_;
  const Config& config_;
  Activity& activity_;
  Listener& listener_;
  std::unique_ptr<kernel::NftKernel> kernel_;
  kernel::Watch watch_;
  netlink::Socket conntrack_;
  Reconciler reconciler_;
  boost::asio::posix::stream_descriptor watch_fd_;
  boost::asio::steady_timer retry_timer_;
  boost::asio::steady_timer verify_timer_;
  boost::asio::steady_timer foreign_timer_;
  boost::asio::steady_timer revoke_timer_;
  std::chrono::milliseconds pause_;
  bool begun_ = false;  // now() was called
  bool commit_waiting_ = false;
  bool revoke_waiting_ = false;
};

}  // namespace podfence::agent
