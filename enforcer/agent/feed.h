#pragma once
// Where the agent's events come from: a directory of manifests, or the Kubernetes API.
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "enforcer/agent/agent.h"
#include "enforcer/agent/status.h"
#include "policy/archive/archive.h"

namespace podfence::agent {

class Feed {
 public:
  class Taker {
   public:
    virtual ~Taker() = default;
    /// `synced`: the source has said everything at least once; before, nothing may be enforced from it.
    virtual void take(std::vector<store::Event> events, bool synced) = 0;
    /// The world that it has taken.
    virtual const store::Cluster& world() const = 0;
  };

  virtual ~Feed() = default;
  /// Before start(): the taker has a world already, out of a checkpoint. What comes is held until the source has said
  /// everything; then what differs is given, all at once.
  virtual void resume(const archive::Origin& origin) = 0;
  /// The first events come from the io_context, not from within.
  virtual void start() = 0;
  virtual void stop() = 0;
  /// What of the source is not as it should be.
  virtual std::vector<FileProblem> problems() const = 0;
  /// Where its objects come from, for people; empty for a directory.
  virtual std::string server() const { return {}; }
  /// Of each type that is watched; none for a directory.
  virtual std::vector<WatchedType> types() const = 0;
};

/// `taker` outlives it.
Result<std::unique_ptr<Feed>> open_feed(boost::asio::io_context& io, const Config& config, Feed::Taker& taker);

Result<std::unique_ptr<Feed>> open_directory_feed(boost::asio::io_context& io, const Config& config,
                                                  Feed::Taker& taker);
Result<std::unique_ptr<Feed>> open_kubernetes_feed(boost::asio::io_context& io, const Config& config,
                                                   Feed::Taker& taker);

}  // namespace podfence::agent
