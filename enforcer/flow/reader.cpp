#include "enforcer/flow/reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

namespace podfence::flow {
namespace {

constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();
constexpr std::chrono::minutes clock_slack{1};

/// Device and inode, and the size as offset.
std::optional<FilePosition> file_at(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FilePosition{status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size)};
}

bool same_file(const FilePosition& a, const FilePosition& b) {
  return a.device == b.device && a.inode == b.inode;
}

/// Where the last whole line ends. What goes on for longer than a line of ours counts as whole.
std::uint64_t end_of_lines(std::istream& in) {
  in.seekg(0, std::ios::end);
  const auto size = static_cast<std::uint64_t>(in.tellg());
  std::string tail(std::min<std::uint64_t>(size, 2 * longest_line), '\0');
  in.seekg(static_cast<std::streamoff>(size - tail.size()));
  in.read(tail.data(), static_cast<std::streamsize>(tail.size()));
  const auto newline = tail.rfind('\n');
  if (newline == std::string::npos) return tail.size() < size ? size : 0;
  return size - tail.size() + newline + 1;
}

}  // namespace

Reader::Reader(std::string path, Filter filter) : path_(std::move(path)), filter_(std::move(filter)) {
  for (auto& key : filter_.label_keys()) unseen_labels_.insert(std::move(key));
  wants_labels_ = !unseen_labels_.empty();
}

Result<std::unique_ptr<Reader>> Reader::open(std::string path, Filter filter) {
  std::unique_ptr<Reader> reader(new Reader(std::move(path), std::move(filter)));
  if (!reader->open_live()) {
    // Between two files there is none for a moment.
    const bool missing = !file_at(reader->path_);
    if (!missing || rotated_files(reader->path_).empty()) return fail(Errc::io, reader->path_ + ": cannot be read");
    return reader;
  }
  reader->past_end_ = end_of_lines(reader->live_);
  reader->position_.offset = reader->past_end_;
  return reader;
}

bool Reader::open_live() {
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat status {};
  // The very file of the descriptor: the name may belong to another by now.
  std::ifstream live("/proc/self/fd/" + std::to_string(fd), std::ios::binary);
  const bool good = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && live;
  ::close(fd);
  if (!good) return false;
  live_ = std::move(live);
  position_ = {status.st_dev, status.st_ino, 0};
  return true;
}

std::vector<std::string> Reader::rotated(const std::optional<FilePosition>& after) const {
  std::vector<std::string> files;
  bool behind = !after;
  for (const std::string& file : rotated_files(path_)) {
    const auto found = file_at(file);
    if (!found) continue;  // deleted meanwhile
    if (live_.is_open() && same_file(*found, position_)) break;
    if (behind) files.push_back(file);
    if (after && same_file(*found, *after)) behind = true;
  }
  return files;
}

std::vector<std::string> Reader::recent() const {
  std::vector<std::string> files = rotated({});
  if (!filter_.since) return files;
  // Named for the time of their rotation: nothing in them is newer.
  const std::string oldest = rotated_path(path_, *filter_.since - clock_slack);
  files.erase(files.begin(), std::lower_bound(files.begin(), files.end(), oldest));
  return files;
}

/// What an answer by labels is worth.
void Reader::note_labels(const LoggedLine& line) {
  if (line.type != "flow" || (filter_.since && std::max(line.time, line.end) < *filter_.since)) return;
  bool without = false;
  for (const Endpoint* end : {&line.source, &line.destination}) {
    without = without || (end->type == EndpointType::pod && !end->k8s.labels);
    if (!end->k8s.labels) continue;
    for (const auto& label : *end->k8s.labels) unseen_labels_.erase(label.first);
  }
  if (without) ++unlabelled_;
}

bool Reader::take(std::string_view json, const Each& each) {
  const auto line = parser_.parse(json);
  if (line && wants_labels_) note_labels(*line);
  if (!line) {
    ++foreign_;
  } else if (filter_.matches(*line)) {
    more_ = each(*line, json);
  }
  return more_;
}

Result<> Reader::read_file(const std::string& file, const Each& each) {
  auto read = for_each_line(file, 0, [&](std::string_view json) { return take(json, each); });
  if (!read && !file_at(file)) return {};  // deleted meanwhile, as the quota wants
  return read;
}

Result<> Reader::past(const Each& each) {
  more_ = true;
  for (const std::string& file : recent()) {
    if (auto read = read_file(file, each); !read || !more_) return read;
  }
  if (!live_.is_open()) return {};
  for_each_line(live_, 0, past_end_, [&](std::string_view json) { return take(json, each); });
  if (live_.bad()) return fail(Errc::io, path_ + ": read error");
  return {};
}

Result<> Reader::last(std::size_t most, const Each& each) {
  std::deque<std::string> lines;
  const auto newest_of = [&](const auto& read) -> Result<> {
    std::deque<std::string> found;
    const std::size_t room = most - lines.size();
    auto done = read([&](const LoggedLine&, std::string_view json) {
      found.emplace_back(json);
      if (found.size() > room) found.pop_front();
      return true;
    });
    lines.insert(lines.begin(), found.begin(), found.end());
    return done;
  };
  more_ = true;
  if (most > 0 && live_.is_open()) {
    auto read = newest_of([&](const Each& keep) -> Result<> {
      for_each_line(live_, 0, past_end_, [&](std::string_view json) { return take(json, keep); });
      return {};
    });
    if (!read) return read;
  }
  const std::vector<std::string> files = recent();
  for (auto file = files.rbegin(); file != files.rend() && lines.size() < most; ++file) {
    if (auto read = newest_of([&](const Each& keep) { return read_file(*file, keep); }); !read) return read;
  }
  for (const std::string& json : lines) {
    if (!take(json, each)) break;
  }
  return {};
}

Result<> Reader::read_live(const Each& each) {
  if (!live_.is_open()) return {};
  position_.offset =
      for_each_line(live_, position_.offset, no_end, [&](std::string_view json) { return take(json, each); });
  if (live_.bad()) return fail(Errc::io, path_ + ": read error");
  return {};
}

Result<> Reader::poll(const Each& each) {
  more_ = true;
  const auto now = file_at(path_);
  const bool same = now && live_.is_open() && same_file(*now, position_);
  if (same && now->offset < position_.offset) position_.offset = 0;  // it was emptied
  if (auto read = read_live(each); !read || !more_ || same || !now) return read;
  const auto before = live_.is_open() ? std::optional(position_) : std::nullopt;
  if (!open_live()) return {};
  if (before) {
    for (const std::string& file : rotated(before)) {
      if (auto read = read_file(file, each); !read || !more_) return read;
    }
  }
  return read_live(each);
}

}  // namespace podfence::flow
