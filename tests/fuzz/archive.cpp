// The objects of a checkpoint, behind a head whose checksums fit: what can be read comes out the same when it is
// written and read again. And the bytes as they are.
#include "policy/archive/archive.h"

#include "policy/archive/crc32c.h"
#include "policy/archive/head.h"
#include "tests/fuzz/check.h"

namespace podfence::fuzz {
namespace {

struct Read {
  bool whole = false;
  std::vector<api::Object> objects;
};

Read read(std::string_view bytes) {
  Read read;
  const auto origin = archive::decode(bytes, [&](api::Object object) { read.objects.push_back(std::move(object)); });
  require(origin || !origin.error().what().empty(), "an error says what is wrong");
  read.whole = origin.has_value();
  return read;
}

/// The objects' bytes in place of those of an archive of nothing.
std::string archive_of(std::string_view objects) {
  using namespace archive;  // NOLINT(google-build-using-namespace)
  std::string bytes = Encoder().finish({}).all;
  bytes.insert(head_size, objects);
  char* head = bytes.data();
  put_number<8>(head + at_objects_size, objects.size());
  put_number<4>(head + at_objects_crc, crc32c(objects));
  put_number<4>(head + at_head_crc, crc32c(std::string_view(bytes).substr(0, checked_head)));
  return bytes;
}

}  // namespace
}  // namespace podfence::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podfence;  // NOLINT(google-build-using-namespace)
  const auto text = fuzz::text_of(data, size);
  fuzz::read(text);
  const auto first = fuzz::read(fuzz::archive_of(text));
  if (!first.whole) return 0;
  archive::Encoder encoder;
  for (const auto& object : first.objects) encoder.add(object);
  const auto second = fuzz::read(std::move(encoder).finish({}).all);
  fuzz::require(second.whole && second.objects == first.objects, "written and read again it is the same");
  return 0;
}
