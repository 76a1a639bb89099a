#pragma once
// The Kubernetes API as a source of events: namespaces, nodes and network policies of the whole cluster, and the pods
// that this node has to know (policy/scope), each listed and watched by a reflector with a connection of its own. One
// thread: everything runs on the io_context.
//
//   Reflector ──Actions──► Follower ──► HttpExchange      one of each for a watch, and a CountAudit with its own
//       │ events                                          exchange
//       ▼
//   news_beside (overlap.h) ──► Scoper ──► PodWatches: which watches of pods to open and to drop
//       │
//       ▼
//     Gate (what names pods waits for them) ──► Listener
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "enforcer/kubeconfig/credentials.h"
#include "enforcer/reflector/reflector.h"

namespace podfence::kube {

/// Of which pods the server sends events. `automatic`: of all, unless the cluster has more than 100 nodes.
enum class WatchScope : std::uint8_t { automatic, cluster, needed };

struct Settings {
  std::string version;  // of this program, for User-Agent
  std::string node;     // this node's name
  WatchScope scope = WatchScope::automatic;
  std::chrono::seconds audit_interval{300};
  std::chrono::seconds linger{600};  // of a watch that is not needed any more
};

class KubeSource {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /// `synced`: all that the node has to know has been listed; otherwise what comes is a part of the world.
    virtual void on_events(std::vector<store::Event> events, bool synced) = 0;
    virtual void on_note(const std::string& text) = 0;
  };

  static Result<std::unique_ptr<KubeSource>> open(boost::asio::io_context& io, kubeconfig::ClientConfig config,
                                                  Settings settings, Listener& listener);
  ~KubeSource();
  KubeSource(const KubeSource&) = delete;
  KubeSource& operator=(const KubeSource&) = delete;

  void start();
  /// Nothing is heard of it any more.
  void stop();

  struct Type {
    std::string name;  // "pods" of the cluster, "pods/NAMESPACE", "local-pods"
    std::size_t objects = 0;
    reflector::ReflectorStatus status;
  };
  std::vector<Type> types() const;
  /// Objects that cannot be taken as they are, by kind and name.
  std::map<std::string, reflector::Problem> problems() const;
  /// Files that could not be read again; empty when all is well.
  std::string credentials_problem() const;
  /// The server, and by which configuration.
  std::string text() const { return text_; }

 private:
  class Parts;
  KubeSource(std::shared_ptr<Parts> parts, std::string text);
  std::shared_ptr<Parts> parts_;
  std::string text_;
};

}  // namespace podfence::kube
