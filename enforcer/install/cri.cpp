#include "enforcer/install/cri.h"

#include <simdjson.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>

#include "enforcer/install/grpc.h"

namespace podfence::install {
namespace {

using simdjson::SUCCESS;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::chrono::milliseconds deadline{3'000};
constexpr std::array usual_sockets{"/run/containerd/containerd.sock", "/run/crio/crio.sock",
                                   "/run/k3s/containerd/containerd.sock"};

/// The fields of one message, in order.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}

  /// False at the end, and at anything that is no field.
  bool next() {
    const std::uint64_t tag = varint();
    number_ = tag >> 3U;
    switch (tag & 7U) {
      case 0:
        value_ = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        text_ = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }
  std::uint64_t number() const { return number_; }
  std::uint64_t value() const { return value_; }
  std::string_view text() const { return text_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view take(std::uint64_t length) {
    if (length > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return taken;
  }

  std::string_view bytes_;
  std::uint64_t number_ = 0;
  std::uint64_t value_ = 0;
  std::string_view text_;
  bool ok_ = true;
};

/// Of the conditions only the network's counts.
void read_condition(std::string_view bytes, RuntimeStatus& status) {
  std::string_view type;
  std::string_view reason;
  std::string_view message;
  bool holds = false;
  for (Fields field(bytes); !field.at_end() && field.next();) {
    if (field.number() == 1) type = field.text();
    if (field.number() == 2) holds = field.value() != 0;
    if (field.number() == 3) reason = field.text();
    if (field.number() == 4) message = field.text();
  }
  if (type != "NetworkReady") return;
  status.network_ready = holds;
  status.reason = message.empty() ? reason : message;
}

LoadedNetwork read_network(object config) {
  LoadedNetwork network;
  std::string_view name;
  if (config["Name"].get(name) == SUCCESS) network.name = name;
  array plugins;
  if (config["Plugins"].get(plugins) != SUCCESS) return network;
  for (const element plugin : plugins) {
    std::string_view type;
    if (plugin["Network"]["type"].get(type) == SUCCESS) network.types.emplace_back(type);
  }
  return network;
}

/// What containerd says of its CNI library.
void read_cni_config(std::string_view text, RuntimeStatus& status) {
  simdjson::dom::parser parser;
  object root;
  array list;
  if (parser.parse(text.data(), text.size()).get(root) != SUCCESS) return;
  std::vector<LoadedNetwork> networks;
  if (root["Networks"].get(list) == SUCCESS) {
    for (const element one : list) {
      object config;
      if (one["Config"].get(config) == SUCCESS) networks.push_back(read_network(config));
    }
  }
  status.networks = std::move(networks);
}

/// What containerd says of its own configuration: runtime classes with directories of their own.
void read_config(std::string_view text, RuntimeStatus& status) {
  simdjson::dom::parser parser;
  element root;
  object handlers;
  if (parser.parse(text.data(), text.size()).get(root) != SUCCESS) return;
  if (root["containerd"]["runtimes"].get(handlers) != SUCCESS) return;
  for (const auto handler : handlers) {
    std::string_view directory;
    if (handler.value["cniConfDir"].get(directory) != SUCCESS || directory.empty()) continue;
    status.other_directories.push_back(std::string(handler.key) + ": " + std::string(directory));
  }
}

}  // namespace

Result<RuntimeStatus> parse_status(std::string_view message) {
  RuntimeStatus status;
  std::map<std::string, std::string, std::less<>> info;
  Fields top(message);
  while (!top.at_end()) {
    if (!top.next()) return fail(Errc::invalid, "the answer to Status is damaged");
    if (top.number() == 1) {
      for (Fields field(top.text()); !field.at_end() && field.next();) {
        if (field.number() == 1) read_condition(field.text(), status);
      }
    }
    if (top.number() == 2) {
      std::string_view key;
      std::string_view value;
      for (Fields field(top.text()); !field.at_end() && field.next();) {
        if (field.number() == 1) key = field.text();
        if (field.number() == 2) value = field.text();
      }
      info[std::string(key)] = value;
    }
  }
  if (const auto found = info.find("cniconfig"); found != info.end()) read_cni_config(found->second, status);
  if (const auto found = info.find("config"); found != info.end()) read_config(found->second, status);
  if (const auto found = info.find("lastCNILoadStatus"); found != info.end()) status.last_load = found->second;
  return status;
}

std::string CriRuntime::name() const {
  const std::string socket = this->socket();
  if (socket.find("crio") != std::string::npos) return "CRI-O";
  return socket.find("containerd") != std::string::npos ? "containerd" : "the runtime at " + socket;
}

std::string CriRuntime::socket() const {
  if (!socket_.empty()) return socket_;
  for (const char* usual : usual_sockets) {
    if (::access(usual, F_OK) == 0) return usual;
  }
  return {};
}

Result<RuntimeStatus> CriRuntime::status() {
  constexpr std::string_view verbose("\x08\x01", 2);
  const auto at = socket();
  if (at.empty()) return fail(Errc::not_found, "no CRI socket");
  const auto answer = ask_grpc(at, "/runtime.v1.RuntimeService/Status", verbose, deadline);
  if (!answer) return fail(answer.error());
  return parse_status(*answer);
}

std::unique_ptr<Runtime> find_runtime(const std::string& cri_socket) {
  if (cri_socket == "none") return std::make_unique<NoRuntime>("--cri-socket none");
  return std::make_unique<CriRuntime>(cri_socket);
}

}  // namespace podfence::install
