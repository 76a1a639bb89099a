#include "policy/base/base64.h"

#include <gtest/gtest.h>

#include <array>
#include <utility>

namespace podfence {
namespace {

/// RFC 4648, section 10.
constexpr std::array<std::pair<const char*, const char*>, 7> vectors{{{"", ""},
                                                                      {"f", "Zg=="},
                                                                      {"fo", "Zm8="},
                                                                      {"foo", "Zm9v"},
                                                                      {"foob", "Zm9vYg=="},
                                                                      {"fooba", "Zm9vYmE="},
                                                                      {"foobar", "Zm9vYmFy"}}};

TEST(Base64, is_that_of_rfc_4648) {
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decode_base64(text).value(), bytes);
  }
}

TEST(Base64, holds_any_bytes) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (std::size_t length = 0; length <= all.size(); ++length) {
    const auto bytes = all.substr(all.size() - length);
    EXPECT_EQ(decode_base64(encode_base64(bytes)).value(), bytes);
  }
}

TEST(Base64, lines_may_break) {
  EXPECT_EQ(decode_base64("Zm9v\r\nYm Fy\n").value(), "foobar");
}

TEST(Base64, anything_else_is_refused) {
  for (const char* wrong : {"Z", "Zg", "Zg=", "Zg==Zg==", "a-b_", "Zg=a", "Z===", "====", "Zg=\xff"}) {
    EXPECT_FALSE(decode_base64(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace podfence
