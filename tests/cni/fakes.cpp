#include "tests/cni/fakes.h"

#include <sstream>

namespace podfence::test {

Result<std::string> FakeAgent::ask(const std::string& path, std::string_view line, std::chrono::milliseconds time,
                                   cni::IfAbsent absent) {
  socket = path;
  limit = time;
  if_absent = absent;
  asked.push_back(Json::parse(line));
  return answer;
}

cni::Outcome<cni::Veth> FakeHost::find_veth(const std::string& netns, const std::string& ifname, bool own) {
  calls.push_back("find " + netns + " " + ifname + (own ? " own" : ""));
  return veth;
}

cni::Outcome<> FakeHost::filter_bridge(const cni::Veth& of) {
  calls.push_back("filter " + of.bridge);
  return bridge;
}

cni::Outcome<> FakeHost::check_bridge(const cni::Veth& of) {
  calls.push_back("check " + of.bridge);
  return bridge;
}

Result<void> FakeHost::close_device(const std::string& device) {
  calls.push_back("close " + device);
  if (device_close) closed.push_back(device);
  return device_close;
}

Result<void> FakeHost::lift_closure(const std::string& device) {
  calls.push_back("lift " + device);
  std::erase(closed, device);
  return {};
}

Result<void> FakeHost::write_journal(const std::string& dir, const std::string& entry, std::string_view line) {
  calls.push_back("journal " + entry);
  if (journal_write) journal[dir + "/" + entry] = line;
  return journal_write;
}

std::optional<std::string> FakeHost::read_journal(const std::string& dir, const std::string& entry) {
  const auto found = journal.find(dir + "/" + entry);
  return found == journal.end() ? std::nullopt : std::optional(found->second);
}

int Answer::code() const {
  const Json object = json();
  return object.is_object() ? object.value("code", 0) : 0;
}

std::string Answer::msg() const {
  const Json object = json();
  if (!object.is_object()) return {};
  return object.value("msg", "") + "; " + object.value("details", "");
}

// Odd order, spaces, unknown keys and a long number on purpose: what is passed on must be this text.
std::string Call::usual_result() {
  return R"({ "interfaces":[{"name":"cni0"},{"name":"veth1"},{"mtu":1450,"name":"eth0","sandbox":"/var/run/netns/x"}],
  "zz": 1.00, "ips":[{"address":"10.0.0.2/24","interface":2},{"address":"fd00::2/64","interface":2}],"dns":{},
  "cniVersion":"1.0.0"})";
}

std::string Call::config() const {
  std::string text = R"({"cniVersion":")" + cni_version + R"(","name":"kbr","type":"podfence-cni",)" + extra;
  if (!prev_result.empty()) text += R"("prevResult":)" + prev_result + ",";
  return text + R"("unknown":{"a":[1]}})";
}

Answer Call::run(const std::string& command) {
  return run_with(command, config());
}

Answer Call::run_with(const std::string& command, const std::string& text) {
  env.command = command;
  std::istringstream in(text);
  std::ostringstream out;
  std::ostringstream err;
  Answer answer;
  answer.status = cni::run(env, in, out, err, agent, host);
  answer.out = out.str();
  answer.err = err.str();
  return answer;
}

}  // namespace podfence::test
