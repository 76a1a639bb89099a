// The text that Prometheus reads.
#include "enforcer/agent/exposition.h"

#include <gtest/gtest.h>

namespace podfence::agent {
namespace {

using namespace std::literals;

TEST(Exposition, writes_families_and_samples) {
  Exposition out;
  out.counter("a_total", "What a is.").sample(std::uint64_t{18'446'744'073'709'551'615ULL});
  out.gauge("b", "What b is.").sample(0.25, {{"x", "1"}, {"y", "two"}}).sample(std::uint64_t{0}, {{"x", ""}});
  EXPECT_EQ(out.text(),
            "# HELP a_total What a is.\n# TYPE a_total counter\na_total 18446744073709551615\n"
            "# HELP b What b is.\n# TYPE b gauge\nb{x=\"1\",y=\"two\"} 0.25\nb{x=\"\"} 0\n");
}

TEST(Exposition, keeps_whatever_a_label_holds_in_its_quotes) {
  Exposition out;
  out.gauge("a", "A.").sample(std::uint64_t{1}, {{"l", std::string_view("q\"b\\n\nr\re\x1b\xff\0z", 13)}});
  EXPECT_EQ(out.text(), "# HELP a A.\n# TYPE a gauge\na{l=\"q\\\"b\\\\n\\nr?e???z\"} 1\n");
}

TEST(Exposition, cumulates_a_histogram) {
  DurationHistogram values({0.1, 1});
  for (const auto d : {100ms, 50ms, 2000ms, 2350ms, 3000ms}) values.add(d);
  Exposition out;
  out.histogram("h", "H.", values);
  EXPECT_EQ(out.text(),
            "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 2\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 5\n"
            "h_sum 7.5\nh_count 5\n");
}

}  // namespace
}  // namespace podfence::agent
