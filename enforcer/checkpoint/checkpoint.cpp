#include "enforcer/checkpoint/checkpoint.h"

#include <filesystem>

#include "enforcer/files/files.h"

namespace podfence::checkpoint {
namespace {

/// Of 100,000 pods it is a quarter of that.
constexpr std::size_t most_bytes = std::size_t{64} << 20U;

constexpr const char* mark_name = "checkpoint-covers";
constexpr std::size_t longest_mark = 64;

std::string text_of(std::uint64_t content) {
  return std::to_string(content) + "\n";
}

}  // namespace

Result<File::Head> File::load(const std::string& node, const std::function<void(api::Object)>& take) const {
  const auto bytes = files::read_small_file(path_, most_bytes);
  if (!bytes) return fail(bytes.error());
  auto head = archive::decode_head(*bytes);
  if (head && head->origin.node != node) {
    return fail(Errc::invalid, path_ + ": is of node '" + head->origin.node + "'");
  }
  if (head) {
    if (auto objects = archive::decode(*bytes, take); !objects) head = fail(objects.error());
  }
  if (!head) return fail(Error(head.error().code(), path_ + ": " + head.error().what()));
  return Head{std::move(head->origin), head->content, bytes->size()};
}

Result<> File::save(std::string_view bytes) const {
  if (bytes.size() > most_bytes) {
    return fail(Errc::limit, path_ + ": would be longer than " + std::to_string(most_bytes) + " bytes");
  }
  const std::filesystem::path path(path_);
  const auto directory = path.parent_path().string();
  if (auto made = files::make_directory(directory); !made) return made;
  return files::write_file(directory, path.filename().string(), bytes, files::Sync::to_disk);
}

bool Mark::covers(std::uint64_t content) const {
  const auto text = files::read_small_file(directory_ + "/" + mark_name, longest_mark);
  return text && *text == text_of(content);
}

Result<> Mark::put(std::uint64_t content) const {
  return files::write_file(directory_, mark_name, text_of(content));
}

Result<> Mark::drop() const {
  return files::remove_file(directory_ + "/" + mark_name);
}

std::string boot_id() {
  auto text = files::read_small_file("/proc/sys/kernel/random/boot_id", longest_mark);
  if (!text) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

}  // namespace podfence::checkpoint
