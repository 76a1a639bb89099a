#pragma once
// Asks from time to time how many objects the server has and at which revision: one small request, answered from the
// database. It shows a history that went back, where a watch hangs in silence, and events that were lost (of a resource
// with a selector the history only). No I/O and no clock, as reflector.h; it has an exchange of its own.
#include <optional>
#include <string>
#include <string_view>

#include "enforcer/reflector/exchange.h"
#include "enforcer/reflector/reflector.h"
#include "enforcer/reflector/scan.h"

namespace podfence::reflector {

class CountAudit {
 public:
  /// Every `interval` to twice that. The reflector and the budget outlive it.
  CountAudit(Reflector& reflector, Budget& budget, Random random, Duration interval);

  void start(Time now);
  void on_response_head(const Head& head, Time now);
  /// False: the exchange is to be closed.
  bool on_bytes(std::string_view bytes, Time now);
  /// What the reflector has to do.
  Actions on_close(const Closed& closed, Time now);
  struct Due {
    bool close = false;
    std::optional<Request> request;
  };
  Due on_timer(Time now);
  std::optional<Time> deadline() const { return at_; }

 private:
  void later(Time now);

  Reflector& reflector_;
  Budget& budget_;
  Random random_;
  Duration interval_;
  std::optional<Time> at_;
  bool open_ = false;
  bool fine_ = false;  // the answer so far
  ListReader list_;
  std::uint64_t items_ = 0;
  Reflector::Count before_;
};

}  // namespace podfence::reflector
