#pragma once
// Programs and kernels for the tests of this folder.
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "enforcer/kernel/nft_kernel.h"
#include "policy/diff/diff.h"
#include "policy/program/rule.h"
#include "tests/policy/program/random_program.h"
#include "tests/support/netns.h"

namespace podfence::kernel {

using namespace net::literals;

/// Opens, or fails the test and gives null.
inline std::unique_ptr<NftKernel> open_kernel(bool own = false) {
  auto kernel = NftKernel::open({own});
  if (kernel) return std::move(*kernel);
  ADD_FAILURE() << kernel.error().what();
  return nullptr;
}

inline ::testing::AssertionResult committed(Kernel& kernel, const diff::Changes& changes) {
  const auto done = kernel.commit(changes);
  if (done) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << done.error().error.what();
}

/// Reads back exactly that, intact.
inline ::testing::AssertionResult holds(Kernel& kernel, const program::Program& program) {
  const auto read = kernel.read();
  if (!read) return ::testing::AssertionFailure() << read.error().what();
  if (!read->present) return ::testing::AssertionFailure() << "no table";
  if (!read->intact) return ::testing::AssertionFailure() << "not intact: " << read->why;
  if (read->program == program) return ::testing::AssertionSuccess();
  const std::string difference = diff::text_of(diff::changes_between(read->program, program));
  return ::testing::AssertionFailure() << "differs:\n" << difference.substr(0, 2000);
}

/// `count` pods 10.x.y.z, each a peer and one tuple of the same pod.
inline program::Program wide_program(std::size_t count) {
  program::Program program;
  auto& peers = program.at({program::Shape::peer_class, net::Direction::ingress, net::Family::ipv4});
  auto& ports = program.at({program::Shape::class_port, net::Direction::ingress, net::Family::ipv4});
  for (std::size_t i = 0; i < count; ++i) {
    program::Element peer;
    peer.address = net::IpAddr::v4(10, static_cast<std::uint8_t>(i >> 16U), static_cast<std::uint8_t>(i >> 8U & 0xffU),
                                   static_cast<std::uint8_t>(i & 0xffU));
    peer.class_id = program::first_class + static_cast<program::ClassId>(i % 400);
    if (i % 3 == 0) {
      program::Element tuple = peer;
      tuple.protocol = net::tcp;
      tuple.ports = {net::Port{80}, net::Port{80}};
      ports.push_back(tuple);
    }
    peers.push_back(peer);
  }
  std::sort(ports.begin(), ports.end());
  return program;
}

}  // namespace podfence::kernel
