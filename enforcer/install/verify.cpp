#include "enforcer/install/verify.h"

#include <algorithm>
#include <thread>
#include <tuple>

#include "enforcer/install/conf_file.h"

namespace podfence::install {
namespace {

constexpr std::chrono::milliseconds between_questions{100};

std::string types_of(const LoadedNetwork& network) {
  std::string text;
  for (const auto& type : network.types) text += (text.empty() ? "" : " ") + type;
  return network.name + " (" + text + ")";
}

/// Of all that a runtime has loaded the ones that make pods' interfaces; containerd counts its loopback among them.
std::vector<LoadedNetwork> real_networks(const RuntimeStatus& status) {
  std::vector<LoadedNetwork> found;
  for (const auto& network : *status.networks) {
    if (network.types != std::vector<std::string>{"loopback"}) found.push_back(network);
  }
  return found;
}

}  // namespace

Verdict judge(const std::string& runtime, const RuntimeStatus& status, const std::string& network, std::size_t ours) {
  if (!status.last_load.empty() && status.last_load != "OK") {
    return {Answer::no, "not loaded: " + runtime + " says: " + status.last_load};
  }
  if (!status.networks) {
    if (!status.network_ready) return {Answer::no, runtime + " says that its network is not ready: " + status.reason};
    return {Answer::unknown, "not known: " + runtime + " is ready, and does not say which plugins it has loaded"};
  }
  const auto networks = real_networks(status);
  if (ours > 0 && networks.size() > 1) {
    return {Answer::no, runtime + " makes " + std::to_string(networks.size()) +
                            " networks for each pod (max_conf_num is not 1): use --mode in-place"};
  }
  for (const auto& loaded : networks) {
    const auto found = static_cast<std::size_t>(std::count(loaded.types.begin(), loaded.types.end(), plugin_type));
    if (ours > 0 && (found < ours || loaded.name != network)) {
      return {Answer::no, "not loaded: " + runtime + " has " + types_of(loaded)};
    }
    if (ours == 0 && found > 0) return {Answer::no, "still loaded: " + runtime + " has " + types_of(loaded)};
  }
  if (ours > 0 && networks.empty()) return {Answer::no, "not loaded: " + runtime + " has no network"};
  return {Answer::yes, (ours > 0 ? "loaded by " : "not loaded by ") + runtime};
}

Verdict verify(Runtime& runtime, const Directory& conf_dir, const std::string& network, std::size_t ours,
               std::chrono::milliseconds time, const std::function<bool()>& stands) {
  const auto deadline = std::chrono::steady_clock::now() + time;
  bool nudged = false;
  for (;;) {
    auto status = runtime.status();
    if (!status && status.error().code() == Errc::not_found) {
      return {Answer::unknown, "not asked: " + status.error().what()};
    }
    auto verdict = status ? judge(runtime.name(), *status, network, ours)
                          : Verdict{Answer::no, runtime.name() + " does not answer: " + status.error().what()};
    if (status && ours > 0) {
      for (const auto& directory : status->other_directories) {
        verdict.notes.push_back("runtime class " + directory + " is another --conf-dir, which needs the plugin too");
      }
    }
    if (verdict.answer != Answer::no || std::chrono::steady_clock::now() >= deadline || !stands()) return verdict;
    std::this_thread::sleep_for(between_questions);
    if (!nudged) std::ignore = conf_dir.nudge();  // rows T2, T4: it may have missed the change
    nudged = true;
  }
}

}  // namespace podfence::install
