#pragma once
// Has the runtime taken what lies on disk? Asked until it has, with a nudge in between.
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "enforcer/install/directory.h"
#include "enforcer/install/runtime.h"

namespace podfence::install {

enum class Answer { yes, no, unknown };

struct Verdict {
  Answer answer = Answer::unknown;
  std::string text;  // "loaded by containerd", "not asked: no CRI socket", "not loaded by containerd: ..."
  std::vector<std::string> notes = {};  // directories of runtime classes that have to be installed into as well
};

/// What a status says of the network in which our plugin ought to be so many times, or more; 0 = nowhere.
Verdict judge(const std::string& runtime, const RuntimeStatus& status, const std::string& network, std::size_t ours);

/// Asks until the answer is not no, until the time is over, or until what was written no longer `stands`: a runtime
/// never takes what somebody has overwritten meanwhile. Nudges the directory once when the first answer is no.
Verdict verify(Runtime& runtime, const Directory& conf_dir, const std::string& network, std::size_t ours,
               std::chrono::milliseconds time, const std::function<bool()>& stands);

}  // namespace podfence::install
