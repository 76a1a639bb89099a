#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "enforcer/flow/pipeline.h"

namespace podfence::agent {

/// Wakes a pipeline when its NFLOG socket has something. The descriptor stays the pipeline's.
class FlowReader {
 public:
  /// The pipeline must outlive this, and keep its place.
  FlowReader(boost::asio::io_context& io, flow::FlowPipeline& pipeline) : pipeline_(pipeline), fd_(io) {}
  ~FlowReader() { stop(); }
  FlowReader(const FlowReader&) = delete;
  FlowReader& operator=(const FlowReader&) = delete;

  /// Again after each call that may have made the pipeline open its socket, or another one.
  void listen();
  void stop();

 private:
  void wait();

  flow::FlowPipeline& pipeline_;
  boost::asio::posix::stream_descriptor fd_;
};

}  // namespace podfence::agent
