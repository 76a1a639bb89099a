#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podfence;
  fuzz::check(api::decode_json("fuzz.json", fuzz::text_of(data, size)));
  return 0;
}
