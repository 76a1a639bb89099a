#pragma once
// One gzip member (RFC 1952) around what Beast's deflate makes.
#include <string>
#include <string_view>

namespace podfence::sink {

std::string gzip(std::string_view text);

}  // namespace podfence::sink
