#include "enforcer/flow/journal.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "enforcer/flow/history.h"

namespace podfence::flow {
namespace {

constexpr std::chrono::seconds save_interval{5};

bool has_lines(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return (!error && size > 0) || !rotated_files(path).empty();
}

void add(Accounted& sum, const Accounted& more) {
  sum.logged += more.logged;
  sum.limited += more.limited;
}

}  // namespace

Journal::Journal(JournalConfig config) : config_(std::move(config)) {
  restore();
  open_output();
  if (file_ != nullptr) position_ = file_->position();
}

/// Before the output is opened, because opening cuts off a torn line and may begin a new file.
void Journal::restore() {
  const bool to_file = !config_.flow_log.empty() && !is_pipe();
  auto loaded = load_account(config_.state_file);
  if (!loaded) restored_.ignored = loaded.error().what();
  if (!loaded || !*loaded) {
    restored_.adopt = !loaded || (to_file && has_lines(config_.flow_log));
    return;
  }
  AccountState& state = **loaded;
  restored_.accounted = state.written;
  restored_.unconfirmed = state.unconfirmed;
  restored_.epoch = std::move(state.epoch);
  restored_.counters = std::move(state.counters);
  if (!state.flow_log.empty() && state.flow_log != "-") {
    add(restored_.accounted, accounted_after(state.flow_log, state.position));
  }
  written_ = restored_.accounted;
}

void Journal::open_output() {
  if (config_.flow_log.empty()) {
    output_ = std::make_unique<NoOutput>();
  } else if (is_pipe()) {
    output_ = std::make_unique<StdoutOutput>();
  } else if (auto opened = FileOutput::open(config_.flow_log, config_.rotate)) {
    file_ = opened->get();
    output_ = std::move(*opened);
  } else {
    error_ = opened.error().what();
  }
}

std::string_view Journal::stage() const {
  return output_ != nullptr ? output_->stage() : "sink:file";
}

void Journal::push(OutLine line) {
  queue_.push_back(std::move(line));
  while (queue_.size() > config_.most_waiting) {
    dropped_.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
}

std::vector<OutLine> Journal::take_dropped() {
  return std::exchange(dropped_, {});
}

void Journal::reopen() {
  if (file_ == nullptr) return;
  if (auto opened = file_->reopen(); !opened) {
    error_ = opened.error().what();
    return;
  }
  position_ = file_->position();
  next_save_ = {};
}

AccountState Journal::state(const Ledger& ledger) const {
  return {config_.flow_log, position_, written_, 0, ledger.epoch(), ledger.counters()};
}

void Journal::store(const AccountState& state) {
  if (saved_ == state) return;
  if (auto done = save_account(config_.state_file, state)) {
    saved_ = state;
  } else {
    error_ = done.error().what();
  }
}

void Journal::save(const Ledger& ledger) {
  store(state(ledger));
}

void Journal::flush(const Ledger& ledger, TimePoint now) {
  if (output_ == nullptr) {
    open_output();
    if (output_ == nullptr) return;
    error_.clear();
    if (file_ != nullptr) position_ = file_->position();
  }
  is_pipe() ? write_to_pipe(ledger, now) : write_to_file(ledger, now);
  if (now < next_save_ && next_save_ - now <= save_interval) return;
  save(ledger);
  next_save_ = now + save_interval;
}

bool Journal::write_front(TimePoint now) {
  const OutLine& line = queue_.front();
  if (auto done = output_->write(line.text); !done) {
    error_ = done.error().what();
    return false;
  }
  add(written_, line.account);
  if (line.first) {  // later than now where the clock was set back
    const auto delay = std::max(now - *line.first, TimePoint::duration{});
    delays_.add(std::chrono::duration_cast<std::chrono::microseconds>(delay));
  }
  ++lines_written_;
  queue_.pop_front();
  return true;
}

void Journal::write_to_file(const Ledger& ledger, TimePoint now) {
  if (file_ != nullptr && file_->moved()) reopen();
  if (queue_.empty()) return;
  bool well = true;
  while (well && !queue_.empty()) {
    if (file_ != nullptr && file_->full(queue_.front().text.size())) {
      if (auto rotated = file_->rotate(now); !rotated) {
        error_ = rotated.error().what();
        return;
      }
      position_ = file_->position();
      save(ledger);
      file_->prune(saved_ ? saved_->position : position_);
    }
    well = write_front(now);
    if (file_ != nullptr) position_ = file_->position();
  }
  if (well) error_.clear();
}

Accounted Journal::account_of_queue() const {
  Accounted sum;
  for (const OutLine& line : queue_) add(sum, line.account);
  return sum;
}

/// What reached a pipe cannot be read back. So the account is saved first as if all of it will be written, and again
/// with what was: killed in between, nothing is stated twice, and the next run states how much is unsure.
void Journal::write_to_pipe(const Ledger& ledger, TimePoint now) {
  if (queue_.empty()) return;
  AccountState intent = state(ledger);
  const Accounted waiting = account_of_queue();
  add(intent.written, waiting);
  intent.unconfirmed = waiting.logged + waiting.limited;
  store(intent);
  bool well = true;
  while (well && !queue_.empty()) well = write_front(now);
  if (well) error_.clear();
  save(ledger);
}

}  // namespace podfence::flow
