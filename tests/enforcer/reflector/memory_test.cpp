// Row L2: what a list takes while it comes, beyond what stays. Counted where memory is asked for.
#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/enforcer/reflector/script.h"

namespace {

std::atomic<std::size_t> in_use{0};
std::atomic<std::size_t> most{0};
constexpr std::size_t head = 2 * sizeof(std::max_align_t);

void* counted(std::size_t size) {
  void* block = std::malloc(size + head);  // NOLINT(cppcoreguidelines-no-malloc): under operator new
  if (block == nullptr) throw std::bad_alloc();
  *static_cast<std::size_t*>(block) = size;
  const auto now = in_use += size;
  if (now > most) most = now;
  return static_cast<char*>(block) + head;
}

void uncounted(void* at) noexcept {
  if (at == nullptr) return;
  void* block = static_cast<char*>(at) - head;
  in_use -= *static_cast<std::size_t*>(block);
  std::free(block);  // NOLINT(cppcoreguidelines-no-malloc): likewise
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return counted(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
void operator delete(void* at) noexcept {
  uncounted(at);
}
void operator delete[](void* at) noexcept {
  uncounted(at);
}
void operator delete(void* at, std::size_t) noexcept {
  uncounted(at);
}
void operator delete[](void* at, std::size_t) noexcept {
  uncounted(at);
}
void operator delete(void* at, const std::nothrow_t&) noexcept {
  uncounted(at);
}
void operator delete[](void* at, const std::nothrow_t&) noexcept {
  uncounted(at);
}

namespace podfence::test {
namespace {

constexpr std::size_t pods_in_all = 10'000;

/// 10.5 KB, most of it of no interest.
std::string large_pod(std::size_t number) {
  static const std::string fill(10'200, 'f');
  const auto n = std::to_string(number);
  return R"({"metadata":{"name":"web-)" + n + R"(-7f9d5b6c4d","namespace":"team-)" + std::to_string(number % 100) +
         R"(","uid":"8d1f0a52-6f6e-4c5e-9b1e-)" + n + R"(","resourceVersion":")" + std::to_string(1000 + number) +
         R"(","labels":{"app":"web-)" + std::to_string(number % 300) + R"(","pod-template-hash":"7f9d5b6c4d"},)" +
         R"("managedFields":[{"manager":")" + fill + R"("}]},"spec":{"nodeName":"node-)" +
         std::to_string(number % 200) +
         R"(","containers":[{"name":"main","ports":[{"name":"http","containerPort":8080}]}]},"status":)" +
         R"({"phase":"Running","podIPs":[{"ip":"10.)" + std::to_string(number / 65536) + "." +
         std::to_string(number / 256 % 256) + "." + std::to_string(number % 256) + R"("}]}})";
}

TEST(List, L2_a_list_of_100_megabytes_takes_less_than_4_beyond_what_stays) {
  for (const bool as_watch : {false, true}) {
    Script s;
    if (!as_watch) s.refuse_watch_list();
    s.head(200);
    const auto before = in_use.load();
    most = before;
    std::size_t sent = 0;
    const auto send = [&](const std::string& text) {
      for (std::size_t at = 0; at < text.size(); at += 16384) s.bytes(text.substr(at, 16384));
      sent += text.size();
    };
    if (!as_watch) send(R"({"kind":"PodList","metadata":{"resourceVersion":"20000"},"items":[)");
    for (std::size_t i = 0; i < pods_in_all; ++i) {
      if (as_watch) {
        send(R"({"type":"ADDED","object":)" + large_pod(i) + "}\n");
      } else {
        send((i == 0 ? "" : ",") + large_pod(i));
      }
    }
    send(as_watch ? bookmark("20000", true) : "]}");
    s.end();
    ASSERT_EQ(s.cluster.pods().size(), pods_in_all);
    const auto stays = in_use.load() - before;
    const auto beyond = most.load() - before - stays;
    RecordProperty("sent", static_cast<int>(sent));
    std::printf("  %zu MB sent, %zu KB stay, %zu KB beyond that at the most\n", sent >> 20U, stays >> 10U,
                beyond >> 10U);
    EXPECT_GT(sent, std::size_t{100} << 20U);
    EXPECT_LT(beyond, std::size_t{4} << 20U);
  }
}

TEST(List, L2_a_list_that_says_what_is_known_takes_nothing) {
  Script s;
  s.refuse_watch_list();
  const auto list = [&] {
    s.head(200);
    s.bytes(R"({"kind":"PodList","metadata":{"resourceVersion":"20000"},"items":[)");
    for (std::size_t i = 0; i < 1000; ++i) s.bytes((i == 0 ? "" : ",") + large_pod(i));
    s.bytes("]}");
    s.end();
  };
  list();
  s.head(200);
  s.bytes(error(410, "Expired"));
  s.pass_until_asked();
  const auto before = in_use.load();
  most = before;
  list();
  EXPECT_EQ(s.machine.status().lists, 2U);
  EXPECT_EQ(s.events, 1000U) << "and gives no event";
  EXPECT_LT(most.load() - before, 200'000U);
}

}  // namespace
}  // namespace podfence::test
