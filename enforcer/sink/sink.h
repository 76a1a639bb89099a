#pragma once
// The port to what takes flow records besides the flow log. A sink is handed one batch at a time and says what became
// of it; the shipper (shipper.h) does the rest: position, pauses, tries.
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace podfence::sink {

struct Outcome {
  enum class Kind : std::uint8_t {
    taken,    // all of it, but for `rejected` lines that will never be taken
    retry,    // nothing is known to be taken: send the same batch again
    refused,  // will never be taken: go on with the next
  };
  Kind kind = Kind::taken;
  std::uint64_t rejected = 0;
  std::optional<std::chrono::seconds> pause = {};  // before a retry, where the other end asks for one
  std::string error = {};
  std::uint64_t suppressed = 0;  // of those taken, lines that were left out to stay within a limit
};

class Sink {
 public:
  using Done = std::function<void(Outcome)>;
  virtual ~Sink() = default;
  /// "otlp", "syslog", "journald".
  virtual std::string_view name() const = 0;
  /// `lines` live until `done` is called, once, on the io_context's thread, never from within send().
  virtual void send(const std::vector<std::string>& lines, Done done) = 0;
};

}  // namespace podfence::sink
