#pragma once
// Brings the flow log to a sink: at least once, in order, one batch at a time. A sink that is down or slow waits for
// itself alone; pauses double up to a minute, with jitter. What can never be sent is counted and passed over.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "enforcer/sink/sink.h"
#include "enforcer/sink/spool.h"

namespace podfence::sink {

struct ShipperStats {
  std::string sink;
  std::uint64_t sent = 0;        // records that the sink took
  std::uint64_t retries = 0;     // batches that had to be sent again
  std::uint64_t dropped = 0;     // records that it will never have: refused, or deleted by the log's quota before
  std::uint64_t suppressed = 0;  // records that it left out to stay within its limits
  std::optional<std::chrono::system_clock::time_point> last_success;
  std::string error;  // of the last try; empty when it went well
};

struct ShipperLimits {
  std::size_t most_lines = 512;
  std::size_t most_bytes = 1024 * 1024;
  std::chrono::milliseconds idle{1000};  // between looks for new lines
  std::chrono::milliseconds first_pause{1000};
  std::chrono::milliseconds longest_pause{60'000};
};

class Shipper {
 public:
  Shipper(boost::asio::io_context& io, Spool spool, std::unique_ptr<Sink> sink, ShipperLimits limits = {});
  ~Shipper();
  Shipper(const Shipper&) = delete;
  Shipper& operator=(const Shipper&) = delete;

  const ShipperStats& stats() const { return stats_; }

 private:
  void step();
  void on_done(const Outcome& outcome);
  void wait(std::chrono::milliseconds time);

  Spool spool_;
  std::unique_ptr<Sink> sink_;
  ShipperLimits limits_;
  ShipperStats stats_;
  boost::asio::steady_timer timer_;
  Batch batch_;  // under way
  std::chrono::milliseconds pause_;
  std::minstd_rand random_{std::random_device{}()};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace podfence::sink
