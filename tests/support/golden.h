#pragma once
// Texts that are compared with a file of the repository; UPDATE_GOLDEN=1 writes the file.
#include <string>

namespace podfence::test {

void expect_golden(const std::string& path, const std::string& text);

}  // namespace podfence::test
