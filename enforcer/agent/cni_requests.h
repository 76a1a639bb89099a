#pragma once
// What podfence-cni asks: cni.add, cni.del, cni.check, cni.gc, cni.status, and what it could only leave in the journal.
//
// An attachment is on disk before it counts; then its pod gets its addresses and its addresses are closed to all
// others, and the answer is held until a commit has put that into the kernel. Many requests share one commit. Nothing
// is answered with success before the agent enforces, but for a DEL: a pod that is plugged in later with the same
// address is acknowledged only after a commit that knows of both.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "enforcer/agent/control.h"
#include "enforcer/agent/requests.h"
#include "enforcer/flow/enrich.h"
#include "enforcer/kernel/kernel.h"
#include "enforcer/sandbox/registry.h"
#include "policy/compile/compiler.h"

namespace podfence::agent {

/// What the requests need of the agent.
class CniHost {
 public:
  virtual ~CniHost() = default;
  /// To the compiler; the kernel hears of it with the next commit, which is asked for.
  virtual void change(std::vector<store::Event> events, std::span<const net::IpAddr> attached) = 0;
  /// Whether the first commit is done.
  virtual bool enforcing() const = 0;
  /// Why the kernel may be behind; empty when all is well.
  virtual std::string trouble() const = 0;
  virtual const compile::Compiler& compiler() const = 0;
  virtual kernel::Kernel& kernel() = 0;
  /// Established flows of these addresses (sorted) are judged anew from now on. Costs a walk of conntrack.
  virtual Result<> end_flows(const std::vector<net::IpAddr>& addresses) = 0;
};

class CniRequests {
 public:
  /// `registry` and `host` outlive it.
  CniRequests(boost::asio::io_context& io, sandbox::Registry& registry, CniHost& host);

  static bool is_ours(const Request& request) { return request.command.rfind("cni.", 0) == 0; }
  void take(const Request& request, Reply reply);

  /// The kernel holds all that was known before.
  void on_committed();
  /// Whether something was plugged in since the last commit.
  bool has_new() const { return !fresh_.empty(); }
  /// Every established flow that the program forbids has been cut, after the last commit.
  void on_flows_cut() {
    lost_.clear();
    flows_cut_ = true;
  }
  /// What the plugin left while nobody answered: at the start, before any request, and now and then.
  void replay_journal();

  /// The host interfaces of the attachments whose pod is known, for the attribution of flows.
  std::map<std::uint32_t, flow::PodInterface> interfaces() const;

 private:
  struct Waiting {
    Reply reply;
    sandbox::Key key;
    bool is_add = false;
    std::size_t removed = 0;  // of cni.gc
    std::string on_time;      // the answer when no commit comes in time
    std::shared_ptr<boost::asio::steady_timer> timer;
  };

  void add(const Request& request, Reply reply);
  void del(const Request& request, Reply reply);
  void gc(const Request& request, Reply reply);
  void check(const Request& request, Reply reply);
  std::string status() const;

  Result<> plug(sandbox::Attachment attachment);
  void unplug(const std::vector<sandbox::Key>& keys);
  void replay(const sandbox::JournalFiles::Entry& entry);
  void hold(Waiting waiting, std::chrono::milliseconds time);
  std::string done(const Waiting& waiting) const;
  void open_adopted();
  Result<> end_flows_of_new();
  Result<> check_interface(const sandbox::Attachment& told) const;
  Result<> check_kernel(const sandbox::Attachment& known) const;

  boost::asio::io_context& io_;
  sandbox::Registry& registry_;
  CniHost& host_;
  std::list<Waiting> waiting_;
  std::set<net::IpAddr> fresh_;  // plugged in since the last commit
  bool flows_cut_ = false;       // once since the start
  std::set<net::IpAddr> lost_;   // by a pod, and established flows of its may carry the label still
  struct Adopted {
    sandbox::JournalFiles::Entry entry;
    bool committed = false;
  };
  std::map<sandbox::Key, Adopted> adopted_;  // out of the journal, with their interface still closed by the plugin
};

/// {"error": what, "code": code}
std::string cni_error(std::string_view what, int code);

}  // namespace podfence::agent
