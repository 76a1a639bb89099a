#pragma once
#include <string>

#include "policy/program/program.h"

namespace podfence::program {

/// The whole table as `nft list table inet podfence` prints it, counters at zero, meters empty, elements sorted;
/// `nft -f` takes it.
std::string print(const Program& program);

}  // namespace podfence::program
