#pragma once
// One GET request and its answer, as the machines of this folder ask for it and hear of it. Who carries it out calls
// on_response_head once, on_bytes as often as bytes come, on_close once; nothing after the machine has closed it.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace podfence::reflector {

struct Request {
  std::string target;    // path and query
  bool watches = false;  // the answer does not end soon
  bool proto = false;    // the answer may be protobuf
};

struct Head {
  unsigned status = 0;
  std::string content_type;
  std::optional<std::chrono::seconds> retry_after;
  std::string flow_schema;  // X-Kubernetes-PF-FlowSchema-UID: who was throttled as what
  std::string content_encoding = {};
};

struct Closed {
  bool whole = false;  // the body ended as HTTP says; otherwise it was cut, or there was no answer
  std::string why;
};

/// Compressed, though nobody asked for it. What an API server compresses as it goes is one gzip file behind the other,
/// of which most readers take the first for the whole.
inline bool is_encoded(const Head& head) {
  return !head.content_encoding.empty() && head.content_encoding != "identity";
}

/// How the answer is written, and so who reads it.
inline bool is_json(const Head& head) {
  return head.content_type == "application/json" || head.content_type.rfind("application/json;", 0) == 0;
}

inline bool is_proto(const Head& head) {
  constexpr std::string_view type = "application/vnd.kubernetes.protobuf";
  return head.content_type == type || head.content_type.rfind(std::string(type) + ";", 0) == 0;
}

}  // namespace podfence::reflector
