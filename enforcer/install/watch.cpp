#include "enforcer/install/watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <tuple>

#include "enforcer/install/clock.h"

namespace podfence::install {
namespace {

constexpr std::chrono::milliseconds settle{20};
constexpr std::chrono::milliseconds retry{500};
constexpr std::chrono::milliseconds slow_look{30'000};

/// The directories by inotify. It is told anew each time, because a directory may have been made again.
class Notices {
 public:
  static Result<Notices> open() {
    Descriptor fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!fd) return fail(system_error("inotify"));
    return Notices(std::move(fd));
  }

  int fd() const { return fd_.get(); }

  void watch(const std::string& directory) const {
    constexpr std::uint32_t changes = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB |
                                      IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    ::inotify_add_watch(fd_.get(), directory.c_str(), changes);  // what is not there is looked for slowly
  }

  /// Takes what waits. True: something changed that is not one of our own temporary files.
  bool drain() const {
    std::array<char, 16384> bytes{};
    bool changed = false;
    for (ssize_t length = 0; (length = ::read(fd_.get(), bytes.data(), bytes.size())) > 0;) {
      struct inotify_event event {};
      for (std::size_t at = 0; at + sizeof(event) <= static_cast<std::size_t>(length);
           at += sizeof(event) + event.len) {
        std::memcpy(&event, bytes.data() + at, sizeof(event));
        const char* name = bytes.data() + at + sizeof(event);
        changed = changed || event.len == 0 || !is_temporary(std::string_view(name, ::strnlen(name, event.len)));
      }
    }
    return changed;
  }

 private:
  explicit Notices(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

/// True: time to stop. Comes back early when something changes, but not before `least` is over.
bool sleep_until_change(const Notices& notices, int stop, std::chrono::milliseconds least,
                        std::chrono::milliseconds most) {
  using Clock = std::chrono::steady_clock;
  std::array<struct pollfd, 2> waiting{{{stop, POLLIN, 0}, {notices.fd(), POLLIN, 0}}};
  if (least.count() > 0 && ::poll(waiting.data(), 1, static_cast<int>(least.count())) > 0) return true;
  const auto end = Clock::now() + std::max(most - least, std::chrono::milliseconds(0));
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0 || ::poll(waiting.data(), waiting.size(), static_cast<int>(left)) == 0) return false;
    if (waiting[0].revents != 0) return true;
    if (waiting[1].revents == 0 || !notices.drain()) continue;
    std::this_thread::sleep_for(settle);  // a rename is two events
    notices.drain();
    return false;
  }
}

/// What others read must not say that all is well.
void remember(const Options& options, const Error& error) {
  const StateFiles files(options.state_dir);
  State state = files.load();
  const bool stands = state.condition == Condition::installed || state.condition == Condition::degraded;
  const auto condition = stands ? Condition::degraded : Condition::waiting;
  if (state.problem == error.what() && state.condition == condition) return;
  state.condition = condition;
  state.problem = error.what();
  state.conf_dir = options.conf_dir;
  state.updated = utc_now();
  std::ignore = files.save(state);
}

}  // namespace

std::chrono::milliseconds Patience::after(bool repaired, Clock::time_point now) {
  constexpr std::chrono::milliseconds first{100};
  constexpr std::chrono::milliseconds longest{10'000};
  constexpr std::chrono::seconds peace{30};
  if (!repaired) {
    if (now - last_ > peace) pause_ = std::chrono::milliseconds(0);
    return std::chrono::milliseconds(0);
  }
  pause_ = now - last_ > peace ? std::chrono::milliseconds(0) : std::clamp(pause_ * 2, first, longest);
  last_ = now;
  return pause_;
}

Result<> watch(const Options& options, Runtime& runtime, const WatchEvents& events, int stop) {
  const auto notices = Notices::open();
  if (!notices) return fail(notices.error());
  Options pass = options;
  pass.wait = std::min(options.wait, std::chrono::milliseconds(5'000));  // for another installer
  Patience patience;
  std::string last_error;
  std::string last_verdict;
  std::uint64_t repairs = StateFiles(options.state_dir).load().repairs;
  for (;;) {
    notices->watch(options.conf_dir);
    notices->watch(options.bin_dir);
    const auto report = install_once(pass, runtime);
    std::chrono::milliseconds least{0};
    if (report) {
      least = patience.after(report->state.repairs > repairs, std::chrono::steady_clock::now());
      repairs = report->state.repairs;
      if (!report->done.empty() || report->verdict.text != last_verdict || !last_error.empty()) events.passed(*report);
      last_verdict = report->verdict.text;
      last_error.clear();
      if (!report->state.file.empty() && options.mode == Mode::drop_in) {
        notices->watch(options.conf_dir + "/" + report->state.network);
      }
    } else {
      remember(options, report.error());
      if (report.error().what() != last_error) events.failed(report.error());
      last_error = report.error().what();
    }
    if (sleep_until_change(*notices, stop, least, report ? slow_look : retry)) return {};
  }
}

}  // namespace podfence::install
