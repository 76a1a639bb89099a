#include "enforcer/install/remains.h"

#include <fcntl.h>
#include <unistd.h>

#include "enforcer/install/plan.h"

namespace podfence::install {
namespace {

constexpr mode_t list_mode = 0600;

bool is_marked(const ConfFile& conf) {
  for (const auto& entry : conf.plugins) {
    if (entry.mark && entry.mark->mode == Mode::in_place) return true;
  }
  return false;
}

Result<> restore(const Directory& conf_dir, const StateFiles& files, const State& state, const ConfFile& conf,
                 std::vector<std::string>& done) {
  const auto plain = unchained(conf);
  std::string how = "; there is no backup to compare with";
  if (state.original_file == conf.name) {
    const auto original = files.load_original(state);
    how = !original            ? "; the backup could not be read: " + original.error().what()
          : *original == plain ? ", byte for byte as it was"
                               : "; somebody else has changed it since, which stays";
  }
  if (auto written = conf_dir.write(conf.name, plain, list_mode, &conf.bytes); !written) return written;
  const auto again = conf_dir.read(conf.name);
  if (!again) return fail(again.error());
  if (again->bytes != plain) return fail(Errc::busy, conf_dir.file(conf.name) + ": somebody else writes it just now");
  done.push_back("restored " + conf_dir.file(conf.name) + " (" + std::to_string(plain.size()) + " bytes)" + how);
  return {};
}

/// Drop-ins of ours are known by their name and their mark.
bool is_drop_in(const Directory& directory) {
  const auto read = directory.read(drop_in_name);
  if (!read) return false;
  return read->bytes.find("\"podfence\":{\"installed\":\"drop-in\"") != std::string::npos;
}

Result<> remove_drop_ins(const Directory& conf_dir, const std::string& keep, std::vector<std::string>& done) {
  const auto directories = conf_dir.directories();
  if (!directories) return fail(directories.error());
  for (const auto& name : *directories) {
    const auto path = name + "/" + drop_in_name;
    if (path == keep) continue;
    const auto directory = Directory::open(conf_dir.file(name));
    if (!directory || !is_drop_in(*directory)) continue;
    if (auto removed = directory->remove(drop_in_name); !removed) return removed;
    ::unlinkat(conf_dir.fd(), name.c_str(), AT_REMOVEDIR);       // stays if others have drop-ins there
    if (auto nudged = conf_dir.nudge(); !nudged) return nudged;  // runtimes do not watch it
    done.push_back("removed " + conf_dir.file(path));
  }
  return {};
}

}  // namespace

Result<> remove_remains(const Directory& conf_dir, const StateFiles& files, const State& state, const std::string& keep,
                        std::vector<std::string>& done) {
  const auto found = scan(conf_dir);
  if (!found) return fail(found.error());
  for (const auto& list : found->theirs) {
    if (!is_marked(list.conf) || list.conf.name == keep) continue;
    if (auto restored = restore(conf_dir, files, state, list.conf, done); !restored) return restored;
  }
  if (auto removed = remove_drop_ins(conf_dir, keep, done); !removed) return removed;
  for (const auto& list : found->own) {
    if (list.conf.name == keep) continue;
    if (auto removed = conf_dir.remove(list.conf.name); !removed) return removed;
    done.push_back("removed " + conf_dir.file(list.conf.name));
  }
  for (const auto& name : found->broken_own) {
    if (name == keep) continue;
    if (auto removed = conf_dir.remove(name); !removed) return removed;
    done.push_back("removed " + conf_dir.file(name) + ", which could not be read");
  }
  return {};
}

Result<std::vector<std::string>> users_of_plugin(const Directory& conf_dir) {
  const auto found = scan(conf_dir);
  if (!found) return fail(found.error());
  std::vector<std::string> users;
  for (const auto* lists : {&found->theirs, &found->own}) {
    for (const auto& list : *lists) {
      if (list.conf.has_ours()) users.push_back(list.conf.name);
    }
  }
  const auto directories = conf_dir.directories();
  if (!directories) return fail(directories.error());
  for (const auto& name : *directories) {
    const auto directory = Directory::open(conf_dir.file(name));
    if (!directory) continue;
    const auto files = directory->files();
    if (!files) continue;
    const std::string below = name + "/";
    for (const auto& file : *files) {
      const auto read = is_conf_name(file) ? directory->read(file) : fail(Errc::not_found, file);
      if (read && read->bytes.find(plugin_type) != std::string::npos) users.push_back(below + file);
    }
  }
  return users;
}

}  // namespace podfence::install
