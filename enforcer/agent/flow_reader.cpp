#include "enforcer/agent/flow_reader.h"

#include <chrono>

namespace podfence::agent {

void FlowReader::listen() {
  if (fd_.is_open() && fd_.native_handle() == pipeline_.fd()) return;
  stop();
  if (pipeline_.fd() < 0) return;
  fd_.assign(pipeline_.fd());
  wait();
}

void FlowReader::wait() {
  fd_.async_wait(fd_.wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    pipeline_.on_readable(std::chrono::system_clock::now());
    if (fd_.is_open()) wait();
  });
}

void FlowReader::stop() {
  if (fd_.is_open()) fd_.release();
}

}  // namespace podfence::agent
