#pragma once
// Connections to sockets on this node.
#include <string>

#include "enforcer/install/directory.h"

namespace podfence::install {

/// not_found: nobody listens there.
Result<Descriptor> connect_unix(const std::string& path);

/// Whether the agent at this socket says that pods can be started now: it has read its source and enforces.
Result<> ask_agent(const std::string& socket);

}  // namespace podfence::install
