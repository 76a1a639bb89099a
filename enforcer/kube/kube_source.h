#pragma once
// The Kubernetes API as a source of events: namespaces, nodes, pods and network policies of the whole cluster, each
// listed and watched by a reflector with a connection of its own. One thread: everything runs on the io_context.
//
//   Reflector ──Actions──► Follower ──► HttpExchange      one of each for a type, and a CountAudit with its own
//   exchange
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "enforcer/kube/tls.h"
#include "enforcer/kubeconfig/credentials.h"
#include "enforcer/reflector/reflector.h"

namespace podfence::kube {

struct Settings {
  std::string version;  // of this program, for User-Agent
  std::chrono::seconds audit_interval{300};
};

class KubeSource {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /// `synced`: all types have been listed; otherwise what comes is a part of the world.
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
    std::string name;
    std::size_t objects = 0;
    reflector::ReflectorStatus status;
  };
  std::vector<Type> types() const;
  /// Objects that cannot be taken as they are, by kind and name.
  std::map<std::string, reflector::Problem> problems() const;
  /// Files that could not be read again; empty when all is well.
  std::string credentials_problem() const;
  /// The server, and by which configuration.
  std::string text() const;

 private:
  class Follower;
  struct Parts;
  explicit KubeSource(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace podfence::kube
