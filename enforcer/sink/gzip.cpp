#include "enforcer/sink/gzip.h"

#include <boost/beast/zlib/deflate_stream.hpp>
#include <boost/crc.hpp>

namespace podfence::sink {
namespace {

void put_le32(std::string& out, std::uint32_t value) {
  for (int byte = 0; byte < 4; ++byte) out += static_cast<char>(value >> (8 * byte) & 0xffU);
}

}  // namespace

std::string gzip(std::string_view text) {
  namespace zlib = boost::beast::zlib;
  constexpr std::string_view header("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", 10);  // deflate, no name, no time
  std::string out(header);
  zlib::deflate_stream stream;
  const auto bound = stream.upper_bound(text.size()) + 16;
  out.resize(header.size() + bound);
  zlib::z_params params;
  params.next_in = text.data();
  params.avail_in = text.size();
  params.next_out = out.data() + header.size();
  params.avail_out = bound;
  boost::beast::error_code ec;
  stream.write(params, zlib::Flush::finish, ec);
  out.resize(header.size() + params.total_out);
  boost::crc_32_type crc;
  crc.process_bytes(text.data(), text.size());
  put_le32(out, crc.checksum());
  put_le32(out, static_cast<std::uint32_t>(text.size()));
  return out;
}

}  // namespace podfence::sink
