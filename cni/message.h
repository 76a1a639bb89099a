#pragma once
// What the plugin and the agent say to each other: one JSON object in a line each way.
#include <optional>
#include <string>
#include <string_view>

#include "cni/config.h"
#include "cni/env.h"
#include "cni/host.h"
#include "cni/result.h"

namespace podfence::cni {

struct PodAttachment {
  std::string network;
  std::string container_id;
  std::string ifname;
  std::string netns;
  Veth veth;
  std::vector<net::IpAddr> addresses;
  PodArgs pod;
};

/// `command` is cni.add or cni.check.
std::string attachment_request(std::string_view command, const PodAttachment& attachment,
                               std::chrono::milliseconds deadline);
std::string del_request(const std::string& network, const Attachment& attachment);
std::string gc_request(const std::string& network, const std::vector<Attachment>& valid);
std::string status_request();

/// Success for {"ok":true}. {"error":"...","code":N} is that error, without a code 11; so is what is no answer at all.
Outcome<> read_answer(std::string_view line);

/// Of a request in the journal: the interface on the host that cni.add named. Nothing for any other request.
std::optional<std::string> host_interface_of(std::string_view request);

}  // namespace podfence::cni
