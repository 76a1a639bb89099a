#include "enforcer/source/directory_source.h"

#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "enforcer/source/manifest_file.h"

namespace podfence::source {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t deepest = 32;           // directories in directories: links may make loops
constexpr std::size_t most_problems = 32;     // shown for one file
constexpr std::size_t much_memory = 1 << 20;  // bytes of manifests after which freed memory goes back to the system

struct File;
/// Who holds an object: the files that list it, by path; the first one's is taken.
using Claims = std::map<api::ObjectKey, std::vector<File*>>;

struct File {
  std::string path;
  std::optional<FileIdentity> identity;  // of what was looked at last
  std::vector<Claims::iterator> objects;
  bool good = false;   // what it stands on had no errors
  bool stale = false;  // what it holds now is not what it stands on
  std::vector<std::string> problems;
};

bool is_manifest(const fs::path& path) {
  const auto extension = path.extension();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

std::vector<std::string> texts_of(const std::vector<api::Diagnostic>& diagnostics) {
  std::vector<std::string> texts;
  for (const auto& d : diagnostics) {
    if (d.severity != api::Severity::error) continue;
    if (texts.size() == most_problems) {
      texts.emplace_back("... and more");
      break;
    }
    texts.push_back(d.text());
  }
  return texts;
}

}  // namespace

struct DirectorySource::State {
  State(std::string root, api::Limits most, TreeWatch tree)
      : path(std::move(root)), limits(most), watch(std::move(tree)) {}

  void find(const fs::path& directory, std::size_t depth, std::set<std::string>& found);
  void look_at(File& file, Batch& batch);
  void take(File& file, api::Decoded decoded, Batch& batch);
  void keep(File& file, std::string why);
  void release(File& file, Claims::iterator claim, Batch& batch);
  void remove(const std::string& file_path, Batch& batch);
  Batch look();

  std::string path;
  api::Limits limits;
  TreeWatch watch;
  std::map<std::string, std::unique_ptr<File>> files;
  Claims claims;
  std::set<File*> read_again;  // they list what another file gave up
  std::string missing;         // why the directory cannot be read
  std::size_t bytes_read = 0;
  bool synced = false;
};

/// Manifests below a directory, and a watch on every directory on the way.
void DirectorySource::State::find(const fs::path& directory, std::size_t depth, std::set<std::string>& found) {
  watch.watch(directory.string());
  std::error_code ec;
  for (fs::directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec)) {
    const auto& entry = at->path();
    if (entry.filename().string().front() == '.') continue;
    std::error_code ignored;
    if (fs::is_directory(entry, ignored)) {
      if (depth < deepest) find(entry, depth + 1, found);
    } else if (is_manifest(entry) && fs::is_regular_file(entry, ignored)) {
      found.insert(entry.string());
      if (fs::is_symlink(entry, ignored)) {
        const auto real = fs::canonical(entry, ignored);
        if (!ignored) watch.watch(real.parent_path().string());
      }
    }
  }
  if (ec && missing.empty()) missing = directory.string() + ": " + ec.message();
}

/// Stands on what it held before.
void DirectorySource::State::keep(File& file, std::string why) {
  file.stale = true;
  file.problems = {std::move(why)};
}

void DirectorySource::State::look_at(File& file, Batch& batch) {
  const auto identity = identity_of(file.path);
  const bool again = read_again.erase(&file) != 0;
  if (!again && identity && file.identity == identity) return;
  auto content = read_manifest(file.path, limits);
  if (!content) {
    if (content.error().code() == Errc::busy) return;  // its close is a notification
    file.identity = identity;
    return keep(file, file.path + ": " + content.error().what());
  }
  file.identity = content->identity;
  bytes_read += content->identity.size;
  if (content->empty && !file.objects.empty()) {
    return keep(file, file.path + ": is empty; delete the file to remove its objects");
  }
  auto problems = texts_of(content->decoded.diagnostics);
  if (!problems.empty() && file.good) {
    file.stale = true;
  } else {
    file.stale = false;
    file.good = problems.empty();
    take(file, std::move(content->decoded), batch);
  }
  file.problems = std::move(problems);
}

void DirectorySource::State::take(File& file, api::Decoded decoded, Batch& batch) {
  const auto before = std::exchange(file.objects, {});
  std::set<const api::ObjectKey*> seen;  // a claim's key does not move; a file may list an object twice
  for (auto& object : decoded.objects) {
    const auto claim = claims.try_emplace(api::key_of(object)).first;
    auto& holders = claim->second;
    const auto by_path = [](const File* a, const File* b) { return a->path < b->path; };
    const auto place = std::lower_bound(holders.begin(), holders.end(), &file, by_path);
    if (place == holders.end() || *place != &file) holders.insert(place, &file);
    if (seen.insert(&claim->first).second) file.objects.push_back(claim);
    if (holders.front() == &file) batch.events.push_back(store::Upsert{std::move(object)});
  }
  for (const auto claim : before) {
    if (seen.count(&claim->first) == 0) release(file, claim, batch);
  }
}

/// The file lists the object no more: it goes, or comes from the next file that lists it.
void DirectorySource::State::release(File& file, Claims::iterator claim, Batch& batch) {
  auto& holders = claim->second;
  const bool was_taken = !holders.empty() && holders.front() == &file;
  holders.erase(std::remove(holders.begin(), holders.end(), &file), holders.end());
  if (holders.empty()) {
    batch.events.push_back(store::Remove{claim->first, {}});
    claims.erase(claim);
  } else if (was_taken) {
    read_again.insert(holders.front());
  }
}

void DirectorySource::State::remove(const std::string& file_path, Batch& batch) {
  const auto found = files.find(file_path);
  for (const auto claim : found->second->objects) release(*found->second, claim, batch);
  read_again.erase(found->second.get());
  files.erase(found);
}

Batch DirectorySource::State::look() {
  Batch batch;
  missing.clear();
  bytes_read = 0;
  watch.watch(fs::path(path).parent_path().string());  // where the directory comes back when it is replaced
  std::error_code ec;
  std::set<std::string> found;
  if (!fs::is_directory(path, ec)) {
    missing = path + ": " + (ec ? ec.message() : "is no directory");
  } else {
    find(path, 0, found);
  }
  batch.synced = synced = synced || missing.empty();
  if (!missing.empty()) return batch;

  std::vector<std::string> gone;
  for (const auto& [file_path, file] : files) {
    if (found.count(file_path) == 0) gone.push_back(file_path);
  }
  for (const auto& file_path : found) {
    auto& file = files[file_path];
    if (!file) {
      file = std::make_unique<File>();
      file->path = file_path;
    }
    look_at(*file, batch);
  }
  for (const auto& file_path : gone) remove(file_path, batch);
  while (!read_again.empty()) look_at(**read_again.begin(), batch);
  if (bytes_read > much_memory) ::malloc_trim(0);
  return batch;
}

DirectorySource::DirectorySource(std::unique_ptr<State> state) : state_(std::move(state)) {}
DirectorySource::DirectorySource(DirectorySource&&) noexcept = default;
DirectorySource& DirectorySource::operator=(DirectorySource&&) noexcept = default;
DirectorySource::~DirectorySource() = default;

Result<DirectorySource> DirectorySource::open(std::string path, api::Limits limits) {
  auto watch = TreeWatch::open();
  if (!watch) return fail(watch.error());
  std::error_code ec;
  const auto absolute = fs::absolute(path, ec).lexically_normal();
  auto text = (absolute.has_filename() ? absolute : absolute.parent_path()).string();
  return DirectorySource(std::make_unique<State>(ec ? path : std::move(text), limits, std::move(*watch)));
}

int DirectorySource::fd() const {
  return state_->watch.fd();
}

Batch DirectorySource::poll() {
  if (!state_->watch.drain()) return {{}, state_->synced};
  return rescan();
}

Batch DirectorySource::rescan() {
  return state_->look();
}

std::vector<FileStatus> DirectorySource::files() const {
  std::vector<FileStatus> list;
  if (!state_->missing.empty()) list.push_back({state_->path, 0, state_->synced, {state_->missing}});
  for (const auto& [path, file] : state_->files) {
    auto problems = file->problems;
    for (const auto claim : file->objects) {
      if (claim->second.size() > 1 && claim->second.front() != file.get() && problems.size() < most_problems) {
        problems.push_back(path + ": " + claim->first.text() + " is taken from " + claim->second.front()->path);
      }
    }
    list.push_back({path, file->objects.size(), file->stale, std::move(problems)});
  }
  return list;
}

}  // namespace podfence::source
