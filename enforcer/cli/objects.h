#pragma once
// Manifests from the disk, for the commands that answer without an agent.
#include <cstddef>
#include <string>
#include <vector>

#include "policy/api/decode.h"
#include "policy/base/result.h"
#include "policy/store/cluster.h"

namespace podfence::cli {

/// How a command prints data.
enum class Output : std::uint8_t { text, json };

/// Every *.yaml, *.yml and *.json below a directory, sorted; names that start with a dot are left out (ConfigMap mounts
/// hold each file twice, once behind one). A path that is a file stands for itself. No file at all is an error: a check
/// of nothing must not look like a success.
Result<std::vector<std::string>> manifests_below(const std::string& path);

/// The bytes of a file, at most `most`.
Result<std::string> read_file(const std::string& path, std::size_t most);

struct Objects {
  store::Cluster cluster;
  std::vector<api::Diagnostic> diagnostics;
};

/// The cluster that a directory describes, as an agent would see it: invalid fields narrow, and are reported. Fails
/// when a file cannot be read or is no YAML or JSON. A pod that has no node yet is put on a node of its own, "<none>",
/// so that its policies are judged.
Result<Objects> load_objects(const std::string& path);

}  // namespace podfence::cli
