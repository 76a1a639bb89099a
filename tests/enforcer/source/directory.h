#pragma once
// A real directory that goes away at the end, and what a source made of it.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "enforcer/source/directory_source.h"
#include "policy/base/overloaded.h"

namespace podfence::source {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "podfence-source-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    base_ = name;
    fs::create_directory(root());
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(base_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  /// The directory that is watched, and the one that it stands in.
  fs::path root() const { return base_ / "manifests"; }
  fs::path base() const { return base_; }
  std::string path(const std::string& name) const { return (root() / name).string(); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root() / name).parent_path());
    std::ofstream(root() / name) << text;
  }
  void remove(const std::string& name) const { fs::remove_all(root() / name); }
  void rename(const std::string& from, const std::string& to) const { fs::rename(root() / from, root() / to); }
  void link(const std::string& target, const std::string& name) const { fs::create_symlink(target, root() / name); }

 private:
  fs::path base_;
};

inline std::string pod_yaml(const std::string& name, const std::string& app = "web") {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: shop, labels: {app: " + app + "}}\n";
}

/// "+Pod shop/a=web" and "-Pod shop/b", sorted, in one line.
inline std::string text_of(const Batch& batch) {
  std::set<std::string> lines;
  for (const auto& event : batch.events) {
    lines.insert(std::visit(overloaded{
                                [](const store::Upsert& put) {
                                  const auto app = api::find_label(api::meta_of(put.object).labels, "app");
                                  return "+" + api::key_of(put.object).name + (app ? "=" + std::string(*app) : "");
                                },
                                [](const store::Remove& gone) { return "-" + gone.key.name; },
                            },
                            event));
  }
  std::string out;
  for (const auto& line : lines) out += (out.empty() ? "" : " ") + line;
  return lines.size() == batch.events.size() ? out : out + " (repeated)";
}

/// A source, and the cluster that its events make.
class Reader {
 public:
  explicit Reader(const Directory& directory, Options options = {})
      : source_(DirectorySource::open(directory.root().string(), options).value()) {}

  std::string rescan() { return take(source_.rescan()); }
  std::string poll() { return take(source_.poll()); }
  bool synced() const { return synced_; }
  DirectorySource& source() { return source_; }
  const store::Cluster& cluster() const { return cluster_; }

  FileStatus status(const std::string& path) const {
    for (const auto& file : source_.files()) {
      if (file.file == path) return file;
    }
    return {"none", 0, {}, false, {}};
  }

 private:
  std::string take(const Batch& batch) {
    for (const auto& event : batch.events) EXPECT_TRUE(cluster_.apply(event)) << "an event that changes nothing";
    synced_ = batch.synced;
    return text_of(batch);
  }

  DirectorySource source_;
  store::Cluster cluster_;
  bool synced_ = false;
};

}  // namespace podfence::source
