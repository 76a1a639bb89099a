#pragma once

namespace podfence::cli {

/// The program `podfence`. Exit code: 0 = yes or fine, 1 = error, 2 = the answer is no (denied, differs, findings).
int run(int argc, char** argv);

}  // namespace podfence::cli
