#pragma once
// One question to a gRPC server on a unix socket, and its answer: just as much HTTP/2 as that takes. Header tables are
// not decoded, so an error is known as one, but not its text.
#include <chrono>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::install {

/// `method` as "/package.Service/Method"; messages are protocol buffers. not_found: nobody listens there.
Result<std::string> ask_grpc(const std::string& socket, std::string_view method, std::string_view message,
                             std::chrono::milliseconds deadline);

}  // namespace podfence::install
