#pragma once
// Single objects made at random, from pools that are small enough for their parts to meet.
#include <random>
#include <string>
#include <vector>

#include "policy/api/objects.h"

namespace podfence::test {

class RandomObjects {
 public:
  explicit RandomObjects(std::mt19937_64& random) : random_(random) {}

  /// 0 .. most
  std::size_t upto(std::size_t most) { return random_() % (most + 1); }
  bool chance(unsigned percent) { return random_() % 100 < percent; }

  /// The same index gives the same key.
  api::Object namespace_(std::size_t index);
  api::Object node(std::size_t index);
  api::Object pod(std::size_t index);
  api::Object policy(std::size_t index);

 private:
  template <class T>
  const T& one_of(const std::vector<T>& pool) {
    return pool[upto(pool.size() - 1)];
  }

  api::LabelSelector selector();
  api::Requirement requirement();
  api::PolicyRule rule();
  api::Peer peer();
  api::Peer block();
  api::PortSpec port();
  net::Protocol protocol();
  std::vector<net::IpAddr> pod_addresses(std::size_t node);
  api::ContainerPort named_port();

  std::mt19937_64& random_;
};

}  // namespace podfence::test
