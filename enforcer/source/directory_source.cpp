#include "enforcer/source/directory_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "enforcer/source/claims.h"
#include "enforcer/source/fingerprint.h"
#include "enforcer/source/last_good.h"
#include "enforcer/source/read_file.h"
#include "enforcer/source/walk.h"
#include "enforcer/source/watcher.h"

namespace podfence::source {
namespace {

using Clock = std::chrono::system_clock;

constexpr std::size_t most_conflicts_listed = 100;

/// What is known of a file, without its objects.
struct Known {
  Signature signature;
  bool may_look_the_same = false;  // it was so new that another write might leave the signature as it is
  std::size_t hash = 0;
  bool decoded = false;      // `hash` is that of a content that was decoded
  bool good = false;         // what is in force came from a content without errors
  bool looked_back = false;  // for a copy of an earlier run's content
  std::vector<api::Diagnostic> diagnostics;
  bool stale = false;
  std::optional<Clock::time_point> stale_since;
};

bool any_errors(const std::vector<api::Diagnostic>& diagnostics) {
  return std::any_of(diagnostics.begin(), diagnostics.end(),
                     [](const auto& d) { return d.severity == api::Severity::error; });
}

api::Diagnostic whole_file(const std::string& file, std::string message,
                           api::Severity severity = api::Severity::error) {
  api::Diagnostic out;
  out.severity = severity;
  out.file = file;
  out.message = std::move(message);
  return out;
}

/// Within a second, clocks of file systems need not tell two writes apart.
bool is_fresh(const Signature& signature) {
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
  return now - std::max(signature.modified_ns, signature.changed_ns) < 1'000'000'000;
}

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

}  // namespace

bool FileStatus::has_errors() const {
  return any_errors(diagnostics);
}

struct DirectorySource::State {
  State(std::string path, Options with, Watcher watch, LastGood copies)
      : root(std::move(path)), options(std::move(with)), watcher(std::move(watch)), last_good(std::move(copies)) {}

  Batch rescan() {
    const Walk found = walk(root, watcher);
    statuses.reset();
    problems.clear();
    for (const auto& [path, why] : found.unwatched) problems.emplace(path, why);
    for (const auto& [path, why] : found.unreadable) problems.emplace(path, why);
    if (!found.root_found) {
      problems.emplace(root, "is not there");
      return settle();
    }
    synced = true;
    std::vector<std::string> gone;
    for (const auto& known : files) {
      const auto& file = known.first;
      const bool hidden_from_us = std::any_of(found.unreadable.begin(), found.unreadable.end(),
                                              [&](const auto& entry) { return is_below(file, entry.first); });
      if (!found.files.contains(file) && !hidden_from_us) gone.push_back(file);
    }
    for (const auto& file : gone) forget(file);
    if (!std::exchange(cleaned, true) && found.unreadable.empty()) last_good.forget_all_but(found.files);
    for (const auto& file : found.files) {
      if (!looks_the_same(file)) load(file);
    }
    return settle();
  }

  Batch poll() {
    const Changes changes = watcher.read();
    if (changes.everything) return rescan();
    if (!changes.files.empty()) statuses.reset();
    for (const auto& file : changes.files) load(file);
    return settle();
  }

  const std::vector<FileStatus>& status() {
    if (statuses) return *statuses;
    std::map<std::string, FileStatus> all;
    for (const auto& [path, why] : problems) {
      all[path] = {path, 0, {whole_file(path, why)}, false, {}};
    }
    for (const auto& [file, known] : files) all[file] = status_of(file, known);
    statuses.emplace();
    for (auto& [path, status] : all) statuses->push_back(std::move(status));
    return *statuses;
  }

  std::string root;
  Options options;
  Watcher watcher;
  LastGood last_good;
  std::map<std::string, Known> files;
  std::map<std::string, std::string> problems;  // of directories, and of links that cannot be watched
  Claims claims;
  std::map<std::string, std::vector<api::Object>> loaded;  // until settle()
  std::optional<std::vector<FileStatus>> statuses;
  bool synced = false;
  bool cleaned = false;  // copies of files that went while nobody looked

 private:
  FileStatus status_of(const std::string& file, const Known& known) const {
    const auto& lost = claims.lost(file);
    FileStatus out{file, claims.count(file) - lost.size(), known.diagnostics, known.stale, known.stale_since};
    for (const auto& key : lost) {
      if (out.diagnostics.size() >= known.diagnostics.size() + most_conflicts_listed) break;
      out.diagnostics.push_back(whole_file(
          file, unpacked(key).text() + " is also in " + claims.winner(key).value_or("another file") + ", which counts",
          api::Severity::warning));
    }
    return out;
  }

  bool looks_the_same(const std::string& file) const {
    const auto known = files.find(file);
    if (known == files.end() || known->second.may_look_the_same || !known->second.decoded) return false;
    const auto signature = signature_of(file);
    return signature && *signature == known->second.signature;
  }

  void forget(const std::string& file) {
    if (files.erase(file) == 0) return;
    last_good.forget(file);
    claims.replace(file, {});
    loaded.erase(file);
  }

  /// The last good content stays in force, be it that of an earlier run; or the narrow reading of what was never good.
  void refuse(const std::string& file, Known& known, std::vector<api::Diagnostic> why) {
    look_back(file, known);
    if (!known.stale && known.good) known.stale_since = Clock::now();
    known.stale = known.good;
    known.diagnostics = std::move(why);
  }

  /// Whether anything good is in force.
  bool look_back(const std::string& file, Known& known) {
    if (known.good || std::exchange(known.looked_back, true)) return known.good;
    const auto copy = last_good.find(file);
    if (!copy) return false;
    auto decoded = api::decode_file(file, *copy, options.limits);
    if (!decoded || decoded->has_errors()) return false;
    known.good = true;
    claim(file, known, std::move(decoded->objects));
    return true;
  }

  void load(const std::string& file) {
    auto content = read_file(file, options.limits.bytes);
    if (!content && content.error().code() == Errc::not_found) return forget(file);
    Known& known = files[file];
    if (!content) {
      known.decoded = false;
      const bool waits = content.error().code() == Errc::busy;
      auto why = whole_file(file, content.error().what(), waits ? api::Severity::note : api::Severity::error);
      if (waits && known.good) return;  // the close of the writer will bring us back
      return refuse(file, known, {std::move(why)});
    }
    const std::size_t hash = LastGood::hash_of(content->text);
    known.signature = content->signature;
    known.may_look_the_same = is_fresh(content->signature);
    if (known.decoded && known.hash == hash) return;
    known.decoded = true;
    known.hash = hash;
    auto decoded = api::decode_file(file, content->text, options.limits);
    if (!decoded) {
      std::string what = decoded.error().what();
      if (what.starts_with(file + ": ")) what.erase(0, file.size() + 2);
      return refuse(file, known, {whole_file(file, std::move(what))});
    }
    take(file, known, *std::move(decoded));
    if (!known.good || known.stale) return;
    if (auto kept = last_good.keep(file, content->text, hash); !kept) {
      known.diagnostics.push_back(
          whole_file(file, "is not kept for a restart: " + kept.error().what(), api::Severity::warning));
    }
  }

  void take(const std::string& file, Known& known, api::Decoded decoded) {
    if (decoded.has_errors() && look_back(file, known)) return refuse(file, known, std::move(decoded.diagnostics));
    known.good = !decoded.has_errors();
    known.stale = false;
    known.stale_since.reset();
    known.diagnostics = std::move(decoded.diagnostics);
    claim(file, known, std::move(decoded.objects));
  }

  void claim(const std::string& file, Known& known, std::vector<api::Object> objects) {
    std::vector<Claim> claimed;
    claimed.reserve(objects.size());
    // Of an object that a file has twice the last one counts, as with kubectl apply.
    std::map<Text, std::size_t> index;
    for (std::size_t i = 0; i < objects.size(); ++i) {
      const auto [at, added] = index.insert_or_assign(packed(api::key_of(objects[i])), i);
      if (added) continue;
      known.diagnostics.push_back(whole_file(file, unpacked(at->first).text() + " is there twice: the last one counts",
                                             api::Severity::warning));
    }
    for (const auto& [key, i] : index) claimed.push_back({key, fingerprint(objects[i])});
    claims.replace(file, claimed);
    loaded[file] = std::move(objects);
  }

  /// The objects of a file that is not at hand: read again, or from the copy of what was good.
  std::vector<api::Object>& objects_of(const std::string& file) {
    const auto [at, added] = loaded.try_emplace(file);
    if (!added) return at->second;
    const auto known = files.find(file);
    auto text = known != files.end() && known->second.stale ? last_good.find(file) : std::nullopt;
    if (!text) {
      auto content = read_file(file, options.limits.bytes);
      if (!content) return at->second;
      text = std::move(content->text);
    }
    auto decoded = api::decode_file(file, *text, options.limits);
    if (decoded) at->second = std::move(decoded->objects);
    return at->second;
  }

  Batch settle() {
    Batch batch;
    batch.synced = synced;
    std::map<std::string, std::map<Text, std::uint64_t>> wanted;
    for (auto& outcome : claims.settle()) {
      if (outcome.file.empty()) {
        batch.events.emplace_back(store::Remove{unpacked(outcome.key), ""});
      } else {
        wanted[outcome.file].emplace(std::move(outcome.key), outcome.fingerprint);
      }
    }
    for (auto& [file, keys] : wanted) emit(file, keys, batch.events);
    loaded.clear();
    return batch;
  }

  void emit(const std::string& file, std::map<Text, std::uint64_t>& keys, std::vector<store::Event>& events) {
    auto& objects = objects_of(file);
    const auto first = static_cast<std::ptrdiff_t>(events.size());
    for (auto object = objects.rbegin(); object != objects.rend(); ++object) {
      const auto key = keys.find(packed(api::key_of(*object)));
      if (key == keys.end() || key->second != fingerprint(*object)) continue;
      keys.erase(key);
      events.emplace_back(store::Upsert{std::move(*object)});
    }
    std::reverse(events.begin() + first, events.end());
    // The file that should count now does not hold its last good content any more: the object stays what it is.
    for (const auto& [key, value] : keys) claims.forget_fingerprint(file, key);
  }
};

DirectorySource::DirectorySource(std::unique_ptr<State> state) : state_(std::move(state)) {}
DirectorySource::DirectorySource(DirectorySource&&) noexcept = default;
DirectorySource& DirectorySource::operator=(DirectorySource&&) noexcept = default;
DirectorySource::~DirectorySource() = default;

Result<DirectorySource> DirectorySource::open(std::string path, Options options) {
  path = without_trailing_slashes(std::move(path));
  if (path.empty()) return fail(Errc::invalid, "the directory of manifests has no name");
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && !S_ISDIR(st.st_mode)) return fail(Errc::invalid, path + ": is no directory");
  auto watcher = Watcher::open();
  if (!watcher) return fail(std::move(watcher).error());
  auto last_good = LastGood::open(options.last_good_directory);
  if (!last_good) return fail(std::move(last_good.error()).in("copies of good files"));
  return DirectorySource(
      std::make_unique<State>(std::move(path), std::move(options), std::move(*watcher), std::move(*last_good)));
}

int DirectorySource::fd() const {
  return state_->watcher.fd();
}
Batch DirectorySource::poll() {
  return state_->poll();
}
Batch DirectorySource::rescan() {
  return state_->rescan();
}
const std::vector<FileStatus>& DirectorySource::files() const {
  return state_->status();
}

}  // namespace podfence::source
