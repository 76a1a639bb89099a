#include "enforcer/cli/objects.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace podfence::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view no_node = "<none>";

bool is_manifest(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

Result<std::vector<std::string>> walk(const std::string& root) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator at(root, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code gone;
    if (is_hidden(at->path())) {
      if (at->is_directory(gone)) at.disable_recursion_pending();
    } else if (is_manifest(at->path()) && at->is_regular_file(gone)) {
      files.push_back(at->path().string());
    }
  }
  if (error) return fail(Errc::io, root + ": " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

void add(store::Cluster& cluster, api::Object object) {
  if (auto* pod = std::get_if<api::Pod>(&object); pod != nullptr && pod->node.empty()) pod->node = no_node;
  cluster.apply(store::Upsert{std::move(object)});
}

}  // namespace

Result<std::vector<std::string>> manifests_below(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return fail(Errc::io, path + ": " + (error ? error.message() : "no such file or directory"));
  if (!fs::is_directory(status)) return std::vector<std::string>{path};
  auto files = walk(path);
  if (files && files->empty()) return fail(Errc::not_found, path + ": no *.yaml, *.yml or *.json file below it");
  return files;
}

Result<std::string> read_file(const std::string& path, std::size_t most) {
  std::error_code no_size;
  if (fs::is_directory(path, no_size)) return fail(Errc::io, path + ": is a directory");
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Errc::io, path + ": " + std::strerror(errno));
  std::string text;
  std::vector<char> buffer(std::size_t{1} << 16U);
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    text.append(buffer.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > most) return fail(Errc::limit, path + ": larger than " + std::to_string(most) + " bytes");
  }
  if (file.bad()) return fail(Errc::io, path + ": cannot be read");
  return text;
}

Result<Objects> load_objects(const std::string& path) {
  const auto files = manifests_below(path);
  if (!files) return fail(files.error());
  Objects loaded;
  for (const std::string& file : *files) {
    const auto text = read_file(file, api::Limits{}.bytes);
    if (!text) return fail(text.error());
    auto decoded = api::decode_file(file, *text);
    if (!decoded) return fail(decoded.error());
    for (api::Object& object : decoded->objects) add(loaded.cluster, std::move(object));
    std::move(decoded->diagnostics.begin(), decoded->diagnostics.end(), std::back_inserter(loaded.diagnostics));
  }
  return loaded;
}

}  // namespace podfence::cli
