#pragma once
// One type of object: where it is, how it is doing, and what its machine wants done.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/reflector/exchange.h"
#include "enforcer/reflector/pace.h"
#include "policy/store/cluster.h"

namespace podfence::reflector {

struct Resource {
  api::Kind kind = api::Kind::pod;
  std::string name;                 // "pods"
  std::string path;                 // "/api/v1/pods"
  bool required = true;             // otherwise an API that was never there counts as one without objects
  std::string field_selector = {};  // of every request; "" = all objects of the path
  std::string namespace_ = {};      // that of the path; "" = all
};

enum class State : std::uint8_t { starting, listing, watching, waiting, absent };
std::string_view name_of(State state);

struct ReflectorStatus {
  State state = State::starting;
  bool synced = false;
  std::string cursor;
  std::string error;  // of the last request; empty when all is well
  std::optional<Time> last_event;
  std::optional<Time> last_contact;  // anything that the server said
  bool possibly_stale = false;       // listed from a cache while the server could not read its database
  std::uint64_t lists = 0;           // that were complete; the first one, too
  std::uint64_t expired = 0;         // answers 410
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;          // of lists and watches
  std::uint64_t skipped = 0;        // events of an unknown type or kind
  std::uint64_t rollbacks = 0;      // the server's history went back
  std::uint64_t missed_events = 0;  // differences that only a list showed
};

/// What to do, in this order.
struct Actions {
  bool close = false;  // the exchange that is open
  std::optional<Request> request;
  std::vector<store::Event> events;
  std::vector<std::string> notes;  // for a log
  bool unauthorized = false;       // the credentials were refused: read them again
};

}  // namespace podfence::reflector
