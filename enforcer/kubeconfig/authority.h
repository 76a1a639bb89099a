#pragma once
// HOST:PORT as in URLs, with brackets around an IPv6 address, and without.
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::kubeconfig {

/// 1 to 65535.
bool is_port(std::string_view text);

/// HOST[:PORT]; where there is none `port` stays as it is.
Result<> split_authority(std::string_view authority, std::string& host, std::string& port);

std::string join_authority(const std::string& host, const std::string& port);

}  // namespace podfence::kubeconfig
