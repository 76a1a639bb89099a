#include "enforcer/source/last_good.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <tuple>
#include <vector>

#include "enforcer/files/files.h"

namespace podfence::source {
namespace {

constexpr std::string_view format = "podfence.last-good/v1 ";

/// The same from whatever directory the agent was started.
std::string absolute(const std::string& file) {
  std::error_code error;
  auto path = std::filesystem::absolute(file, error);
  return error ? file : path.lexically_normal().string();
}

std::string name_of(const std::string& file) {
  char name[2 * sizeof(std::uint64_t) + 1];
  std::snprintf(name, sizeof(name), "%016" PRIx64, std::uint64_t{LastGood::hash_of(absolute(file))});
  return name;
}

std::string header_of(const std::string& file, std::size_t hash) {
  const auto path = absolute(file);
  return std::string(format) + std::to_string(hash) + " " + std::to_string(path.size()) + "\n" + path + "\n";
}

/// "HASH LENGTH\n..." -> the hash, and what follows the header, which must be that of `file`.
struct Copy {
  std::size_t hash = 0;
  std::string_view text;
};
std::optional<Copy> parse(std::string_view copy, const std::string& file) {
  if (!copy.starts_with(format)) return std::nullopt;
  Copy out;
  const auto* begin = copy.data() + format.size();
  const auto read = std::from_chars(begin, copy.data() + copy.size(), out.hash);
  if (read.ec != std::errc()) return std::nullopt;
  const auto header = header_of(file, out.hash);
  if (!copy.starts_with(header)) return std::nullopt;
  out.text = copy.substr(header.size());
  if (LastGood::hash_of(out.text) != out.hash) return std::nullopt;
  return out;
}

}  // namespace

Result<LastGood> LastGood::open(std::string directory) {
  if (!directory.empty()) {
    if (auto made = files::make_directory(directory); !made) return fail(made.error());
  }
  return LastGood(std::move(directory));
}

Result<> LastGood::keep(const std::string& file, std::string_view text, std::size_t hash) {
  if (directory_.empty()) return {};
  const auto known = kept_.find(file);
  if (known != kept_.end() && known->second == hash) return {};
  if (known == kept_.end()) {
    const auto copy = find(file);
    if (copy && *copy == text) {
      kept_[file] = hash;
      return {};
    }
  }
  auto copy = header_of(file, hash);
  copy += text;
  if (auto written = files::write_file(directory_, name_of(file), copy); !written) return written;
  kept_[file] = hash;
  return {};
}

std::optional<std::string> LastGood::find(const std::string& file) const {
  if (directory_.empty()) return std::nullopt;
  const auto copy = files::read_small_file(directory_ + "/" + name_of(file), std::numeric_limits<std::size_t>::max());
  if (!copy) return std::nullopt;
  const auto parsed = parse(*copy, file);
  if (!parsed) return std::nullopt;
  return std::string(parsed->text);
}

void LastGood::forget(const std::string& file) {
  kept_.erase(file);
  if (!directory_.empty()) std::ignore = files::remove_file(directory_ + "/" + name_of(file));
}

void LastGood::forget_all_but(const std::set<std::string>& files) {
  if (directory_.empty()) return;
  std::set<std::string> wanted;
  for (const auto& file : files) wanted.insert(name_of(file));
  const auto names = files::names_in(directory_);
  if (!names) return;
  for (const auto& name : *names) {
    if (!wanted.contains(name)) std::ignore = files::remove_file(directory_ + "/" + name);
  }
}

}  // namespace podfence::source
