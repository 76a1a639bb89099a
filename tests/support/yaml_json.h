#pragma once
// A YAML node as JSON text, with quoted scalars as strings: what yaml-cpp's own emitter would forget.
#include <string>

namespace YAML {
class Node;
}

namespace podfence::test {

std::string to_json(const YAML::Node& node);

}  // namespace podfence::test
