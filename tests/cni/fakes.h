#pragma once
// A call of the plugin in this process, with an agent and a host that do as they are told.
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cni/plugin.h"

namespace podfence::test {

using Json = nlohmann::json;

class FakeAgent : public cni::Agent {
 public:
  Result<std::string> ask(const std::string& socket, std::string_view line, std::chrono::milliseconds limit,
                          cni::IfAbsent if_absent) override;

  Result<std::string> answer{R"({"ok":true,"pod_known":true})"};
  std::vector<Json> asked;
  std::string socket;
  std::chrono::milliseconds limit{0};
  cni::IfAbsent if_absent = cni::IfAbsent::give_up;
};

class FakeHost : public cni::Host {
 public:
  cni::Outcome<cni::Veth> find_veth(const std::string& netns, const std::string& ifname, bool own) override;
  cni::Outcome<> filter_bridge(const cni::Veth& veth) override;
  cni::Outcome<> check_bridge(const cni::Veth& veth) override;
  Result<bool> rules_present() override { return rules; }
  Result<void> close_device(const std::string& device) override;
  Result<void> lift_closure(const std::string& device) override;
  Result<void> write_journal(const std::string& dir, const std::string& entry, std::string_view line) override;
  std::optional<std::string> read_journal(const std::string& dir, const std::string& entry) override;
  void erase_journal(const std::string& dir, const std::string& entry) override { journal.erase(dir + "/" + entry); }
  void log(const std::string& file, std::string_view line) override {
    logs.emplace_back(file + ": " + std::string(line));
  }

  cni::Outcome<cni::Veth> veth = cni::Veth{"veth1", 12, "cni0", 3};
  cni::Outcome<> bridge;
  Result<bool> rules = true;
  Result<void> journal_write;
  Result<void> device_close;
  std::map<std::string, std::string> journal;
  std::vector<std::string> closed;
  std::vector<std::string> logs;
  std::vector<std::string> calls;  // everything that changes or reads the node, in order
};

struct Answer {
  int status = -1;
  std::string out;
  std::string err;

  Json json() const { return Json::parse(out, nullptr, false); }
  /// Of the error object; 0 for none.
  int code() const;
  std::string msg() const;
};

/// Podman's "web" on network kbr, version 1.0.0, unless changed.
struct Call {
  FakeAgent agent;
  FakeHost host;
  cni::Env env{"ADD", "c0ffee", "/var/run/netns/x", "eth0", "", ""};
  std::string input;
  std::string cni_version = "1.0.0";
  std::string extra;                         // members of the configuration: "\"socket\":\"/x\","
  std::string prev_result = usual_result();  // empty: none

  static std::string usual_result();
  std::string config() const;

  /// With config() as input, or the given text.
  Answer run(const std::string& command);
  Answer run_with(const std::string& command, const std::string& text);
};

}  // namespace podfence::test
