#include "enforcer/sink/spool.h"

#include <simdjson.h>
#include <sys/stat.h>

#include <algorithm>

#include "enforcer/files/files.h"
#include "policy/base/json_writer.h"

namespace podfence::sink {
namespace {

constexpr std::string_view format = "podfence.sink/v1";
constexpr std::size_t longest_state = 64 * 1024;

struct File {
  std::string path;
  flow::FilePosition position;  // its end
};

std::optional<File> file_at(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  return File{path, {st.st_dev, st.st_ino, static_cast<std::uint64_t>(st.st_size)}};
}

/// Oldest first, the live one last.
std::vector<File> files_of(const std::string& flow_log) {
  std::vector<File> files;
  auto paths = flow::rotated_files(flow_log);
  paths.push_back(flow_log);
  for (const auto& path : paths) {
    auto file = file_at(path);
    if (!file) continue;
    // A rotation between two looks shows the same file twice.
    const auto same = [&](const File& f) {
      return f.position.device == file->position.device && f.position.inode == file->position.inode;
    };
    if (std::none_of(files.begin(), files.end(), same)) files.push_back(std::move(*file));
  }
  return files;
}

/// "node:instance:number" -> the two parts; nothing when it is no such id.
std::optional<std::pair<std::string, std::uint64_t>> parts_of(std::string_view line) {
  constexpr std::string_view before = R"("id":")";
  const auto at = line.find(before);
  if (at == std::string_view::npos) return std::nullopt;
  const auto id = line.substr(at + before.size(), line.find('"', at + before.size()) - at - before.size());
  const auto colon = id.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : id.substr(colon + 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return std::pair(std::string(id.substr(0, colon)), number);
}

}  // namespace

Result<Spool> Spool::open(std::string flow_log, std::string state_file) {
  Spool spool(std::move(flow_log), std::move(state_file));
  const auto loaded = spool.load();
  if (!loaded) return fail(loaded.error());
  if (*loaded) return spool;
  const auto files = files_of(spool.flow_log_);
  if (!files.empty()) spool.position_.file = files.back().position;
  if (auto saved = spool.save(); !saved) return fail(saved.error());
  return spool;
}

Batch Spool::next(std::size_t most_lines, std::size_t most_bytes) const {
  Batch batch{{}, position_, 0};
  const auto files = files_of(flow_log_);
  auto file = std::find_if(files.begin(), files.end(), [&](const File& f) {
    return f.position.device == position_.file.device && f.position.inode == position_.file.inode;
  });
  const bool known = file != files.end();
  if (!known) file = files.begin();  // deleted by the quota: from the oldest that is there
  std::size_t bytes = 0;
  for (auto f = file; f != files.end() && batch.lines.size() < most_lines && bytes < most_bytes; ++f) {
    const bool same = known && f == file;
    auto offset = same && position_.file.offset <= f->position.offset ? position_.file.offset : 0;
    if (offset == f->position.offset && same && std::next(f) == files.end()) break;  // nothing new
    batch.end.file = {f->position.device, f->position.inode, offset};
    std::ignore = flow::for_each_line(f->path, offset, [&](std::string_view line) {
      if (batch.lines.size() >= most_lines || (bytes + line.size() > most_bytes && !batch.lines.empty())) {
        bytes = most_bytes;  // and no other file
        return false;
      }
      batch.end.file.offset += line.size() + 1;
      bytes += line.size() + 1;
      if (const auto id = parts_of(line)) {
        const bool follows = id->first == batch.end.instance && id->second > batch.end.sequence;
        if (follows) batch.missed += id->second - batch.end.sequence - 1;
        batch.end.instance = id->first;
        batch.end.sequence = id->second;
      }
      batch.lines.emplace_back(line);
      return true;
    });
  }
  return batch;
}

Result<> Spool::commit(const Batch& batch) {
  if (position_ == batch.end) return {};
  position_ = batch.end;
  return save();
}

/// False when there is no state yet, or none that can be read: then nothing says what was sent.
Result<bool> Spool::load() {
  const auto text = files::read_small_file(state_file_, longest_state);
  if (!text && text.error().code() == Errc::not_found) return false;
  if (!text) return fail(text.error());
  try {
    simdjson::dom::parser parser;
    const simdjson::dom::element root = parser.parse(*text);
    if (root["format"].get_string().value() != format) return fail(Errc::invalid, state_file_ + ": unknown format");
    position_.file = {root["device"].get_uint64(), root["inode"].get_uint64(), root["offset"].get_uint64()};
    position_.instance = std::string(root["instance"].get_string().value());
    position_.sequence = root["sequence"].get_uint64();
    return true;
  } catch (const simdjson::simdjson_error&) {
    return false;  // cut short by a power cut
  }
}

Result<> Spool::save() const {
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("format", format).field("device", position_.file.device);
  json.field("inode", position_.file.inode).field("offset", position_.file.offset);
  json.field("instance", position_.instance).field("sequence", position_.sequence).end_object();
  text += '\n';
  const auto slash = state_file_.rfind('/');
  const auto directory = slash == std::string::npos ? std::string(".") : state_file_.substr(0, slash);
  if (auto made = files::make_directory(directory); !made) return made;
  return files::write_file(directory, state_file_.substr(slash + 1), text);
}

}  // namespace podfence::sink
