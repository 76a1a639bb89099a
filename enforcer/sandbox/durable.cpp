#include "enforcer/sandbox/durable.h"

#include <tuple>

#include "enforcer/files/files.h"

namespace podfence::sandbox {
namespace {

constexpr std::size_t longest_file = std::size_t{64} << 10U;
constexpr std::string_view ending = ".json";

}  // namespace

Result<AttachmentFiles> AttachmentFiles::open(const std::string& state_dir) {
  AttachmentFiles files(state_dir + "/attachments");
  if (auto made = files::make_directory(files.directory_); !made) return fail(made.error());
  return files;
}

AttachmentFiles::Loaded AttachmentFiles::load() const {
  Loaded loaded;
  const auto names = files::names_in(directory_);
  if (!names) {
    loaded.problems.push_back(names.error().what());
    return loaded;
  }
  for (const auto& name : *names) {
    const auto path = directory_ + "/" + name;
    auto text = files::read_small_file(path, longest_file);
    auto attachment = text ? parse_attachment(*text) : fail(text.error());
    if (!attachment) {
      loaded.problems.push_back(text ? path + ": " + attachment.error().what() : attachment.error().what());
    } else if (attachment->key.text() + std::string(ending) != name) {
      loaded.problems.push_back(path + ": is about " + attachment->key.text());
    } else {
      loaded.attachments.push_back(std::move(*attachment));
    }
  }
  return loaded;
}

Result<> AttachmentFiles::save(const Attachment& attachment) const {
  return files::write_file(directory_, attachment.key.text() + std::string(ending), json_of(attachment) + "\n");
}

Result<> AttachmentFiles::erase(const Key& key) const {
  return files::remove_file(directory_ + "/" + key.text() + std::string(ending));
}

JournalFiles::Read JournalFiles::read() const {
  Read read;
  const auto names = files::names_in(directory_);
  if (!names) {
    read.problems.push_back(names.error().what());
    return read;
  }
  for (const auto& name : *names) {
    const auto path = directory_ + "/" + name;
    auto key = parse_key(name);
    if (!key) {
      read.problems.push_back(path + ": " + key.error().what());
      continue;
    }
    auto line = files::read_small_file(path, longest_file);
    if (!line) {
      if (line.error().code() != Errc::not_found) read.problems.push_back(line.error().what());
      continue;
    }
    read.entries.push_back({std::move(*key), std::move(*line)});
  }
  return read;
}

void JournalFiles::erase(const Entry& entry) const {
  const auto path = directory_ + "/" + entry.key.text();
  const auto now = files::read_small_file(path, longest_file);
  if (now && *now == entry.line) std::ignore = files::remove_file(path);
}

void JournalFiles::erase(const Key& key) const {
  std::ignore = files::remove_file(directory_ + "/" + key.text());
}

}  // namespace podfence::sandbox
