#include "enforcer/sink/shipper.h"

#include <algorithm>

namespace podfence::sink {

Shipper::Shipper(boost::asio::io_context& io, Spool spool, std::unique_ptr<Sink> sink, ShipperLimits limits)
    : spool_(std::move(spool)), sink_(std::move(sink)), limits_(limits), timer_(io), pause_(limits.first_pause) {
  stats_.sink = sink_->name();
  wait(std::chrono::milliseconds(0));
}

Shipper::~Shipper() {
  *alive_ = false;
}

void Shipper::wait(std::chrono::milliseconds time) {
  timer_.expires_after(time);
  timer_.async_wait([this, alive = alive_](boost::system::error_code ec) {
    if (!ec && *alive) step();
  });
}

void Shipper::step() {
  if (batch_.lines.empty()) {
    batch_ = spool_.next(limits_.most_lines, limits_.most_bytes);
    stats_.dropped += batch_.missed;
  }
  if (batch_.lines.empty()) {
    // The position may have moved to a new, empty file.
    if (auto moved = spool_.commit(batch_); !moved) stats_.error = moved.error().what();
    return wait(limits_.idle);
  }
  sink_->send(batch_.lines, [this, alive = alive_](const Outcome& outcome) {
    if (*alive) on_done(outcome);
  });
}

void Shipper::on_done(const Outcome& outcome) {
  if (outcome.kind == Outcome::Kind::retry) {
    ++stats_.retries;
    stats_.error = outcome.error;
    const auto jitter = std::chrono::milliseconds(random_() % static_cast<unsigned>(pause_.count() / 4 + 1));
    auto time = pause_ + jitter;
    if (outcome.pause) time = std::max<std::chrono::milliseconds>(time, *outcome.pause);
    pause_ = std::min(pause_ * 2, limits_.longest_pause);
    return wait(time);
  }
  const bool taken = outcome.kind == Outcome::Kind::taken;
  const auto rejected = taken ? std::min<std::uint64_t>(outcome.rejected, batch_.lines.size()) : batch_.lines.size();
  const auto left_out = std::min<std::uint64_t>(outcome.suppressed, batch_.lines.size() - rejected);
  stats_.dropped += rejected;
  stats_.suppressed += left_out;
  stats_.sent += batch_.lines.size() - rejected - left_out;
  if (taken) stats_.last_success = std::chrono::system_clock::now();
  stats_.error = outcome.error;
  pause_ = limits_.first_pause;
  if (auto kept = spool_.commit(batch_); !kept) stats_.error = kept.error().what();  // sent again after a restart
  batch_ = {};
  wait(std::chrono::milliseconds(0));
}

}  // namespace podfence::sink
