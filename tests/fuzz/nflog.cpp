// One NFLOG message: its payload comes from whoever sent the packet.
#include "enforcer/flow/decode.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podfence;
  const auto packet = flow::decode_nflog(std::as_bytes(std::span(data, size)));
  if (!packet) return 0;
  require(packet->source.family() == packet->destination.family(), "both addresses are of one family");
  require(packet->has_ip || packet->source == net::IpAddr(), "addresses come from an IP header");
  return 0;
}
