#pragma once
// Where flow records go besides the flow log.
#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "enforcer/agent/agent.h"
#include "enforcer/sink/shipper.h"

namespace podfence::agent {

/// A shipper for each sink of a valid configuration. Errors name the option and the file. `instance` differs with every
/// start.
Result<std::vector<std::unique_ptr<sink::Shipper>>> open_sinks(boost::asio::io_context& io, const Config& config,
                                                               const std::string& instance);

}  // namespace podfence::agent
