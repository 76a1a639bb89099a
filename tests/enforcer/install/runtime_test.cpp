// What a runtime says: over the wire, in its words, and what follows from it.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "enforcer/install/cri.h"
#include "enforcer/install/grpc.h"
#include "tests/enforcer/install/node.h"

namespace podfence::install::test {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

std::string field(int number, const std::string& text) {
  std::string length;
  for (auto left = text.size();; left >>= 7U) {
    if (left < 128) {
      length += static_cast<char>(left);
      break;
    }
    length += static_cast<char>((left & 127U) | 128U);
  }
  return std::string(1, static_cast<char>(number << 3 | 2)) + length + text;
}
std::string condition(const std::string& type, bool holds, const std::string& message) {
  return field(1, field(1, type) + "\x10"s + (holds ? "\x01"s : "\x00"s) + field(3, "Reason") + field(4, message));
}
std::string info(const std::string& key, const std::string& value) {
  return field(2, field(1, key) + field(2, value));
}
std::string networks(const std::string& list) {
  return R"({"PluginDirs":["/opt/cni/bin"],"PluginConfDir":"/etc/cni/net.d","PluginMaxConfNum":1,"Networks":[)" + list +
         "]}";
}
std::string network(const std::string& name, const std::string& types) {
  std::string plugins;
  for (std::size_t at = 0; at < types.size();) {
    const auto end = std::min(types.find(' ', at), types.size());
    plugins += (at > 0 ? "," : "") + R"({"Network":{"type":")"s + types.substr(at, end - at) + "\"}}";
    at = end + 1;
  }
  return R"({"Config":{"Name":")" + name + R"(","Plugins":[)" + plugins + "]}}";
}
std::string ready_status(const std::string& list) {
  return field(1, condition("RuntimeReady", true, "") + condition("NetworkReady", true, "")) +
         info("cniconfig", networks(network("cni-loopback", "loopback") + (list.empty() ? "" : ",") + list)) +
         info("lastCNILoadStatus", "OK");
}

Verdict judged(const std::string& message, std::size_t ours = 1) {
  const auto status = parse_status(message);
  EXPECT_TRUE(status);
  return status ? judge("containerd", *status, "kbr", ours) : Verdict();
}

TEST(RuntimeStatus, R6_what_containerd_has_loaded) {
  EXPECT_EQ(judged(ready_status(network("kbr", "bridge podfence-cni"))).answer, Answer::yes);
  EXPECT_THAT(judged(ready_status(network("kbr", "bridge"))).text, HasSubstr("has kbr (bridge)"));
  EXPECT_THAT(judged(ready_status(network("other", "bridge podfence-cni"))).text, HasSubstr("has other"));
  EXPECT_THAT(judged(ready_status("")).text, HasSubstr("has no network"));
  EXPECT_EQ(judged(ready_status(network("kbr", "bridge podfence-cni")), 2).answer, Answer::no);
  EXPECT_EQ(judged(ready_status(network("kbr", "bridge podfence-cni podfence-cni")), 2).answer, Answer::yes);
  EXPECT_THAT(judged(ready_status(network("kbr", "a podfence-cni") + "," + network("kbr", "a"))).text,
              HasSubstr("max_conf_num"));
  EXPECT_EQ(judged(ready_status(network("kbr", "bridge")), 0).answer, Answer::yes);
  EXPECT_EQ(judged(ready_status(network("kbr", "bridge podfence-cni")), 0).answer, Answer::no);
}

TEST(RuntimeStatus, R6_a_load_that_failed) {
  const auto verdict = judged(field(1, condition("NetworkReady", false, "cni plugin not initialized")) +
                              info("lastCNILoadStatus", "cni config load failed: no network config found"));
  EXPECT_EQ(verdict.answer, Answer::no);
  EXPECT_THAT(verdict.text, HasSubstr("no network config found"));
}

TEST(RuntimeStatus, a_runtime_that_does_not_tell_its_networks) {  // CRI-O
  EXPECT_EQ(judged(field(1, condition("NetworkReady", true, ""))).answer, Answer::unknown);
  const auto verdict = judged(field(1, condition("NetworkReady", false, "no CNI configuration file")));
  EXPECT_EQ(verdict.answer, Answer::no);
  EXPECT_THAT(verdict.text, HasSubstr("no CNI configuration file"));
}

TEST(RuntimeStatus, runtime_classes_with_directories_of_their_own) {
  const auto status = parse_status(
      ready_status("") +
      info("config", R"({"containerd":{"runtimes":{"kata":{"cniConfDir":"/etc/kata"},"runc":{"cniConfDir":""}}}})"));
  ASSERT_TRUE(status);
  EXPECT_EQ(status->other_directories, std::vector<std::string>{"kata: /etc/kata"});
}

TEST(RuntimeStatus, cuts_and_flipped_bytes_do_no_harm) {
  const auto whole = ready_status(network("kbr", "bridge podfence-cni"));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (const auto status = parse_status(whole.substr(0, i))) (void)judge("x", *status, "kbr", 1);
    for (const char c : {'\0', '\x7f', '\xff', '\x0a', '\x12'}) {
      auto other = whole;
      other[i] = c;
      if (const auto status = parse_status(other)) (void)judge("x", *status, "kbr", 1);
    }
  }
}

/// Accepts one connection, waits for the question, says these pieces, and closes.
class Server : public Node {
 protected:
  Result<std::string> ask(const std::vector<std::string>& pieces) {
    const std::string path = root / "cri.sock";
    fs::remove(path);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    const void* generic = &address;
    EXPECT_EQ(::bind(fd, static_cast<const struct sockaddr*>(generic), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd, 1), 0);
    std::thread serving([&] {
      const int peer = ::accept(fd, nullptr, nullptr);
      char question[4096];
      const auto got = ::recv(peer, question, sizeof(question), 0);
      EXPECT_GT(got, 24);
      heard = std::string(question, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      for (const auto& piece : pieces) {
        EXPECT_GE(::send(peer, piece.data(), piece.size(), MSG_NOSIGNAL), -1);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      ::shutdown(peer, SHUT_WR);
      while (::recv(peer, question, sizeof(question), 0) > 0) {
      }
      ::close(peer);
    });
    auto answer = ask_grpc(path, "/runtime.v1.RuntimeService/Status", "\x08\x01", std::chrono::milliseconds(500));
    serving.join();
    ::close(fd);
    return answer;
  }
  static std::string frame(int type, int flags, int stream, const std::string& payload) {
    return ""s + '\0' + static_cast<char>(payload.size() >> 8U) + static_cast<char>(payload.size() & 255U) +
           static_cast<char>(type) + static_cast<char>(flags) + "\0\0\0"s + static_cast<char>(stream) + payload;
  }
  static std::string message(const std::string& text) { return "\0\0\0\0"s + static_cast<char>(text.size()) + text; }
  std::string heard;
};

TEST_F(Server, an_answer_in_pieces_among_other_frames) {
  const auto whole = frame(4, 0, 0, "") + frame(8, 0, 0, "\0\0\1\0"s) + frame(6, 0, 0, "12345678") +
                     frame(1, 4, 1, "\x88") + frame(0, 8, 1, "\x02" + message("hello").substr(0, 7) + "pp") +
                     frame(0, 0, 1, message("hello").substr(7)) + frame(1, 5, 1, "x");
  std::vector<std::string> bytes;
  for (std::size_t at = 0; at < whole.size(); at += 7) bytes.push_back(whole.substr(at, 7));
  for (const auto& pieces : {std::vector<std::string>{whole}, bytes}) {
    const auto answer = ask(pieces);
    ASSERT_TRUE(answer) << answer.error().what();
    EXPECT_EQ(*answer, "hello");
  }
  EXPECT_THAT(heard, HasSubstr("/runtime.v1.RuntimeService/Status"));
  EXPECT_EQ(heard.substr(0, 24), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

TEST_F(Server, what_is_no_answer) {
  EXPECT_THAT(ask({frame(4, 0, 0, "") + frame(1, 5, 1, "status: 12")}).error().what(), HasSubstr("with an error"));
  EXPECT_THAT(ask({frame(3, 0, 1, "\0\0\0\2"s)}).error().what(), HasSubstr("refuses"));
  EXPECT_THAT(ask({frame(7, 0, 0, "goodbye.")}).error().what(), HasSubstr("goodbye"));
  EXPECT_THAT(ask({"HTTP/1.1 400 Bad Request\r\n\r\n"}).error().what(), HasSubstr("no HTTP/2"));
  EXPECT_THAT(ask({frame(0, 1, 1, "\0\0\0\0\x09short"s)}).error().what(), HasSubstr("no message"));
  EXPECT_THAT(ask({frame(0, 9, 1, "\xffx")}).error().what(), HasSubstr("too short"));
  EXPECT_THAT(ask({}).error().what(), HasSubstr("closed"));
  EXPECT_THAT(ask({frame(4, 0, 0, "").substr(0, 5)}).error().what(), HasSubstr("closed"));
}

TEST_F(Server, nobody_there) {
  const auto answer = ask_grpc(root / "none.sock", "/x", "", std::chrono::milliseconds(100));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Errc::not_found);
  CriRuntime absent(root / "none.sock");
  const auto directory = Directory::open(options.conf_dir);
  const auto verdict = verify(absent, *directory, "kbr", 1, std::chrono::milliseconds(100), [] { return true; });
  EXPECT_EQ(verdict.answer, Answer::unknown);
  EXPECT_THAT(verdict.text, HasSubstr("none.sock"));
}

class Verify : public Node {
 protected:
  static std::vector<LoadedNetwork> only(std::vector<std::string> types) {
    return {LoadedNetwork{"kbr", std::move(types)}};
  }
};

TEST_F(Verify, R7_asks_again_after_a_nudge) {
  RuntimeStatus without;
  without.networks = only({"bridge"});
  RuntimeStatus with;
  with.networks = only({"bridge", "portmap", "podfence-cni"});
  runtime.before = without;
  runtime.after = with;
  runtime.loads_at = 3;
  options.verify_time = std::chrono::milliseconds(5'000);
  settled("10-kbr.conflist", bridge_list);
  EXPECT_EQ(installed().verdict.answer, Answer::yes);
  EXPECT_EQ(names().size(), 2U);  // nothing of the nudge is left
}

TEST_F(Verify, R6_who_overwrites_while_the_runtime_is_asked_is_answered_at_once) {
  RuntimeStatus without;
  without.networks = only({"bridge"});
  runtime.after = without;
  options.mode = Mode::in_place;
  options.verify_time = std::chrono::hours(1);
  settled("10-kbr.conflist", bridge_list);
  runtime.on_question = [this] { settled("10-kbr.conflist", bridge_list); };  // before containerd has looked
  EXPECT_THAT(refused(), HasSubstr("10-kbr.conflist: somebody has overwritten it just now"));
  EXPECT_EQ(runtime.asked, 1);

  RuntimeStatus with;
  with.networks = only({"bridge", "portmap", "podfence-cni"});
  runtime.after = with;
  runtime.on_question = [] {};
  EXPECT_EQ(installed().state.condition, Condition::installed);
  EXPECT_THAT(read("net.d/10-kbr.conflist"), HasSubstr("podfence-cni"));
}

TEST_F(Verify, R6_what_is_not_loaded_is_degraded) {
  RuntimeStatus without;
  without.networks = only({"bridge"});
  runtime.after = without;
  settled("10-kbr.conflist", bridge_list);
  const auto report = installed();
  EXPECT_EQ(report.state.condition, Condition::degraded);
  EXPECT_THAT(StateFiles(options.state_dir).load().problem, HasSubstr("not loaded"));
  const auto left = check(options, runtime);
  ASSERT_TRUE(left);
  EXPECT_THAT(left->warnings, testing::Contains(HasSubstr("not loaded")));
  RuntimeStatus with;
  with.networks = only({"bridge", "portmap", "podfence-cni"});
  runtime.after = with;
  EXPECT_EQ(installed().state.condition, Condition::installed);
}

TEST_F(Verify, R5_the_program_stays_while_the_runtime_has_the_list) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  RuntimeStatus still;
  still.networks = only({"bridge", "podfence-cni"});
  runtime.after = still;
  UninstallOptions undo;
  undo.common = options;
  undo.drain = std::chrono::milliseconds(0);
  const auto report = uninstall(undo, runtime);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().what(), HasSubstr("still loaded"));
  EXPECT_TRUE(exists("bin/podfence-cni"));
}

}  // namespace
}  // namespace podfence::install::test
