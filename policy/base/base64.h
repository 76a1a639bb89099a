#pragma once
// Base64 as Kubernetes and libcni write it: RFC 4648 section 4, padded.
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence {

std::string encode_base64(std::string_view bytes);

/// White space between digits is passed over; any other deviation is an error.
Result<std::string> decode_base64(std::string_view text);

}  // namespace podfence
