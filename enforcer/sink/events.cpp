#include "enforcer/sink/events.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace podfence::sink {
namespace {

flow::TimePoint now() {
  return std::chrono::system_clock::now();
}

}  // namespace

EventsSink::EventsSink(boost::asio::io_context& io, std::unique_ptr<EventApi> api, EventBook book)
    : io_(io), api_(std::move(api)), book_(std::move(book)), timer_(io) {
  wait();
}

EventsSink::~EventsSink() {
  *alive_ = false;
}

void EventsSink::wait() {
  timer_.expires_after(look);
  timer_.async_wait([this, alive = alive_](boost::system::error_code ec) {
    if (ec || !*alive) return;
    wait();
    book_.forget(now());
    go();
  });
}

void EventsSink::send(const std::vector<std::string>& lines, Done done) {
  done_ = std::move(done);
  if (!std::exchange(taken_, true)) {  // otherwise it is the same batch again
    for (const std::string& text : lines) {
      if (const auto line = parser_.parse(text)) book_.take(*line, now());
    }
  }
  boost::asio::post(io_, [this, alive = alive_] {
    if (*alive) go();
  });
}

/// Without a batch there is a pause, or nothing new.
void EventsSink::go() {
  if (busy_) return;
  const bool batch = static_cast<bool>(done_);
  const auto call = book_.next(batch, now());
  if (!call) {
    if (!batch) return;
    const auto lost = book_.take_lost();
    taken_ = false;
    return finish({.kind = Outcome::Kind::taken,
                   .rejected = lost.refused,
                   .pause = {},
                   .error = std::exchange(error_, {}),
                   .suppressed = lost.suppressed});
  }
  busy_ = true;
  api_->call(call->request, [this, alive = alive_, call = *call](const EventAnswer& answer) {
    if (*alive) on_answer(call, answer);
  });
}

void EventsSink::on_answer(const EventBook::Call& call, const EventAnswer& answer) {
  busy_ = false;
  const auto judged = book_.answered(call, answer, now());
  if (!judged.error.empty()) error_ = judged.error;
  // A series waits for its next turn.
  if (!judged.again || call.request.method != "POST") return go();
  if (done_) finish({.kind = Outcome::Kind::retry, .pause = judged.pause, .error = judged.error});
}

void EventsSink::finish(Outcome outcome) {
  std::exchange(done_, nullptr)(std::move(outcome));
}

}  // namespace podfence::sink
