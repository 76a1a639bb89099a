#pragma once
// Kubernetes Events (events.k8s.io/v1, reason FlowDenied) on this node's pods whose flows are denied. What is told is
// for the book (event_book.h) to say; this asks the API, one request at a time. While the API is away, slow or asks to
// wait, new Events wait with their batch in the flow log; an Event that the API will not have, as in a namespace that
// is being deleted, is counted and passed over.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "enforcer/sink/event_book.h"
#include "enforcer/sink/sink.h"

namespace podfence::sink {

/// The port to the API server.
class EventApi {
 public:
  using Done = std::function<void(EventAnswer)>;
  virtual ~EventApi() = default;
  /// `done` is called once, never from within. One call at a time.
  virtual void call(const EventRequest& request, Done done) = 0;
};

class EventsSink final : public Sink {
 public:
  static constexpr std::chrono::seconds look{10};  // for series that are due

  EventsSink(boost::asio::io_context& io, std::unique_ptr<EventApi> api, EventBook book);
  ~EventsSink() override;
  std::string_view name() const override { return "events"; }
  void send(const std::vector<std::string>& lines, Done done) override;

 private:
  void wait();
  void go();
  void on_answer(const EventBook::Call& call, const EventAnswer& answer);
  void finish(Outcome outcome);

  boost::asio::io_context& io_;
  std::unique_ptr<EventApi> api_;
  EventBook book_;
  flow::LineParser parser_;
  boost::asio::steady_timer timer_;
  Done done_;           // of the batch that is under way
  std::string error_;   // of what was refused in it
  bool taken_ = false;  // its lines are in the book
  bool busy_ = false;   // with a request
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace podfence::sink
