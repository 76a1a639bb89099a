#pragma once
// Keeps the world on disk as the API server said it last, and gives it back at the start, so that a node enforces
// before the server answers.
//
//   restore ◄── File ◄── thread ◄── encode ◄── changed()        at most once in ten seconds, and only what is news
//        └── Mark: the kernel holds nothing newer ──┘
//
// The world is encoded on the io_context; a thread of its own waits for the disk.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "enforcer/agent/agent.h"
#include "enforcer/agent/status.h"
#include "enforcer/checkpoint/checkpoint.h"
#include "policy/store/cluster.h"

namespace podfence::agent {

class Checkpoints {
 public:
  /// The world as the source gave it, whole.
  using Describe = std::function<void(archive::Encoder& encoder, archive::Origin& origin)>;

  Checkpoints(boost::asio::io_context& io, const Config& config, Describe describe);
  ~Checkpoints();
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  struct World {
    std::vector<store::Event> events;
    archive::Origin origin;
  };
  /// What to begin with; nothing where there is no checkpoint, or none that can be used: the status says why. With a
  /// table in the kernel it is used only if the kernel holds nothing newer.
  std::optional<World> restore(const std::function<bool()>& table_is_there);

  /// Before a commit that brings news of the source into the kernel.
  void before_commit();
  /// Before a commit of what the CNI plugin reported: with it the kernel gets what the source said of these pods, which
  /// the file may not hold yet.
  void before_plugged_in();
  /// After it: the world may differ from the one on disk.
  void changed();
  /// The source has said everything: what is enforced is no longer the checkpoint.
  void followed() { status_.enforced = false; }

  const CheckpointStatus& status() const { return status_; }
  void stop();

 private:
  void reject(const std::string& why);
  void arm(std::chrono::milliseconds pause);
  void write();
  void saved(const Result<>& result, std::uint64_t content, std::size_t bytes, Clock::time_point when);
  void cover(std::uint64_t content);
  void uncover();
  std::chrono::milliseconds pause() const;

  boost::asio::io_context& io_;
  std::string node_;
  Describe describe_;
  checkpoint::File file_;
  checkpoint::Mark mark_;
  CheckpointStatus status_;
  boost::asio::steady_timer timer_;
  std::thread thread_;
  std::optional<std::uint64_t> content_;  // of the file
  std::size_t encoded_bytes_ = 0;
  std::chrono::steady_clock::time_point not_before_;
  bool armed_ = false;
  bool saving_ = false;
  bool changed_ = false;       // since the last write began
  bool moved_ = false;         // so did the kernel
  bool may_be_marked_ = true;  // an earlier agent may have left the mark
};

/// The cluster as the source said it: without what the sandboxes add to the pods of this node.
void describe(const store::Cluster& cluster, const std::string& node, const sandbox::Join& join,
              const std::vector<FileProblem>& problems, archive::Encoder& encoder, archive::Origin& origin);

/// Addresses of this node's pods from before a boot, and addresses that are plugged in here by now, tell of nobody.
void forget_stale_addresses(std::vector<store::Event>& events, const std::string& node, bool of_this_boot,
                            const std::function<bool(const net::IpAddr&)>& plugged_in);

}  // namespace podfence::agent
