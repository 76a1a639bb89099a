#pragma once
// The plugin's program in the runtime's directory. It is replaced by renaming, never written to: a runtime may be
// executing it, and a kernel refuses to write to a program that runs.
#include <string>
#include <vector>

#include "enforcer/install/directory.h"

namespace podfence::install {

/// What the program answers to CNI_COMMAND=VERSION. One that does not start, hangs or answers anything else is an
/// error.
Result<std::vector<std::string>> ask_versions(const std::string& program);

/// Whether both paths lead to one and the same file.
bool is_same_file(const std::string& a, const std::string& b);

enum class Placed { was_there, replaced, is_new };

/// Copies `source` into the directory as `name`, unless it is there with these bytes and executable. The copy is asked
/// for its versions before it gets its name.
Result<Placed> place_binary(const std::string& source, const Directory& into, const std::string& name);

/// Whether `name` in the directory has the bytes of `source` and can be executed.
bool is_placed(const std::string& source, const Directory& into, const std::string& name);

/// How many processes execute this file now.
std::size_t running(const std::string& program);

}  // namespace podfence::install
