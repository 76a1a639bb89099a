#include "cni/message.h"

#include <nlohmann/json.hpp>

#include "policy/base/json_writer.h"

namespace podfence::cni {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_quote = 200;  // of an answer that is none

}  // namespace

std::string attachment_request(std::string_view command, const PodAttachment& attachment,
                               std::chrono::milliseconds deadline) {
  std::string line;
  JsonWriter json(line);
  json.begin_object().field("command", command).field("network", attachment.network);
  json.field("container_id", attachment.container_id).field("ifname", attachment.ifname);
  json.field("netns", attachment.netns).field("host_interface", attachment.veth.name);
  json.field("host_ifindex", attachment.veth.index);
  if (!attachment.veth.bridge.empty()) json.field("bridge", attachment.veth.bridge);
  json.key("addresses").begin_array();
  for (const net::IpAddr& address : attachment.addresses) json.value(address.text());
  json.end_array();
  json.field("pod_namespace", attachment.pod.pod_namespace).field("pod_name", attachment.pod.pod_name);
  json.field("pod_uid", attachment.pod.pod_uid).field("deadline_ms", deadline.count()).end_object();
  return line;
}

std::string del_request(const std::string& network, const Attachment& attachment) {
  std::string line;
  JsonWriter json(line);
  json.begin_object().field("command", "cni.del").field("network", network);
  json.field("container_id", attachment.container_id).field("ifname", attachment.ifname).end_object();
  return line;
}

std::string gc_request(const std::string& network, const std::vector<Attachment>& valid) {
  std::string line;
  JsonWriter json(line);
  json.begin_object().field("command", "cni.gc").field("network", network).key("valid").begin_array();
  for (const Attachment& attachment : valid) {
    json.begin_object().field("container_id", attachment.container_id);
    json.field("ifname", attachment.ifname).end_object();
  }
  json.end_array().end_object();
  return line;
}

std::string status_request() {
  return R"({"command":"cni.status"})";
}

Outcome<> read_answer(std::string_view line) {
  const Json answer = Json::parse(line, nullptr, false);
  if (answer.is_object()) {
    const auto error = answer.find("error");
    if (error != answer.end() && error->is_string()) {
      const auto code = answer.find("code");
      const bool known = code != answer.end() && code->is_number_unsigned() && code->get<std::uint64_t>() > 0 &&
                         code->get<std::uint64_t>() <= 0xffffffffU;
      return refuse(known ? static_cast<Code>(code->get<std::uint32_t>()) : Code::try_again, error->get<std::string>());
    }
    const auto ok = answer.find("ok");
    if (ok != answer.end() && ok->is_boolean() && ok->get<bool>()) return {};
  }
  return refuse(Code::try_again, "the podfence agent gave an answer that is none: are plugin and agent of one version?",
                std::string(line.substr(0, longest_quote)));
}

std::optional<std::string> host_interface_of(std::string_view request) {
  const Json json = Json::parse(request, nullptr, false);
  if (!json.is_object() || json.value("command", Json()) != "cni.add") return std::nullopt;
  const auto name = json.find("host_interface");
  if (name == json.end() || !name->is_string()) return std::nullopt;
  return name->get<std::string>();
}

}  // namespace podfence::cni
