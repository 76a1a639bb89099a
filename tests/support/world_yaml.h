#pragma once
// A world as a case file for tests/cases, so that what a random test found is kept.
#include <string>

#include "tests/support/random_world.h"

namespace podfence::test {

/// One object as kubectl would give it, in one line of JSON, which is YAML too.
std::string manifest_of(const api::Object& object);

/// The whole file, with one flow and the verdict that is right.
std::string case_of(const World& world, const net::Flow& flow, bool allowed, const std::string& title);

}  // namespace podfence::test
