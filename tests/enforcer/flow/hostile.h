#pragma once
// Texts that try to leave their place in a line.
#include <random>
#include <string>
#include <vector>

namespace podfence::flow::test {

inline std::string hostile_text(std::mt19937_64& random, std::size_t length) {
  static const std::vector<std::string> pieces{"\n",
                                               "\r\n",
                                               "\"",
                                               "\\",
                                               "\x1b[31m",
                                               "\x7f",
                                               std::string(1, '\0'),
                                               "\xff\xfe",
                                               "\xe2\x80\xa8",
                                               "\xe2\x80\xa9",
                                               "}",
                                               "\",\"x\":\"",
                                               "\xc2\x85",
                                               "\xf0\x9f\x98\x80",
                                               "a",
                                               "\xc3",
                                               "\xed\xa0\x80",
                                               "\xe2\x80\xae",
                                               "</script>"};
  std::string text;
  while (text.size() < length) text += pieces[random() % pieces.size()];
  return text;
}

}  // namespace podfence::flow::test
