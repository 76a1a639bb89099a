#include <algorithm>

#include "policy/archive/archive.h"
#include "policy/archive/crc32c.h"
#include "policy/archive/head.h"
#include "policy/base/overloaded.h"

namespace podfence::archive {
namespace {

void put(std::string& out, std::uint64_t number) {
  while (number >= 0x80) {
    out += static_cast<char>((number & 0x7fU) | 0x80U);
    number >>= 7U;
  }
  out += static_cast<char>(number);
}

void put_signed(std::string& out, std::int64_t number) {
  const auto bits = static_cast<std::uint64_t>(number);
  put(out, (bits << 1U) ^ (number < 0 ? ~std::uint64_t{0} : 0));
}

void put(std::string& out, std::string_view text) {
  put(out, std::uint64_t{text.size()});
  out += text;
}

void put(std::string& out, const net::IpAddr& ip) {
  out += static_cast<char>(ip.family());
  for (const std::uint8_t byte : ip.bytes()) out += static_cast<char>(byte);
}

void put(std::string& out, const net::Cidr& block) {
  put(out, block.base());
  out += static_cast<char>(block.length());
}

template <class List, class PutOne>
void put_list(std::string& out, const List& list, const PutOne& put_one) {
  put(out, std::uint64_t{list.size()});
  for (const auto& item : list) put_one(item);
}

void put(std::string& out, const api::LabelSelector& selector) {
  out += static_cast<char>(selector.invalid);
  put_list(out, selector.requirements, [&](const api::Requirement& r) {
    put(out, r.key);
    out += static_cast<char>(r.op);
    put_list(out, r.values, [&](const std::string& value) { put(out, value); });
  });
}

void put(std::string& out, const api::Peer& peer) {
  out += static_cast<char>(peer.index());
  std::visit(overloaded{
                 [&](const api::PodPeer& pods) {
                   out += static_cast<char>(pods.namespaces.has_value());
                   if (pods.namespaces) put(out, *pods.namespaces);
                   put(out, pods.pods);
                 },
                 [&](const api::IpBlock& block) {
                   put(out, block.cidr);
                   put_list(out, block.except, [&](const net::Cidr& hole) { put(out, hole); });
                 },
                 [&](const api::Nothing& nothing) { put(out, nothing.why); },
             },
             peer);
}

void put(std::string& out, const api::PortSpec& spec) {
  out += static_cast<char>(spec.protocol.number);
  out += static_cast<char>(spec.whole_protocol);
  out += static_cast<char>(spec.port.index());
  std::visit(overloaded{
                 [&](const net::PortRange& range) {
                   put(out, std::uint64_t{range.first.number});
                   put(out, std::uint64_t{range.last.number});
                 },
                 [&](const std::string& name) { put(out, name); },
                 [&](const api::Nothing& nothing) { put(out, nothing.why); },
             },
             spec.port);
}

void put(std::string& out, const std::vector<api::PolicyRule>& rules) {
  put_list(out, rules, [&](const api::PolicyRule& rule) {
    out += static_cast<char>(rule.any_peer);
    put_list(out, rule.peers, [&](const api::Peer& peer) { put(out, peer); });
    out += static_cast<char>(rule.any_port);
    put_list(out, rule.ports, [&](const api::PortSpec& spec) { put(out, spec); });
  });
}

std::string bytes_of(const Origin& origin) {
  std::string out;
  for (const auto& text : {origin.node, origin.cluster, origin.server, origin.boot}) put(out, text);
  put_signed(out, origin.written);
  put_list(out, origin.narrow, [&](const std::string& key) { put(out, key); });
  return out;
}

}  // namespace

Encoder::Encoder(std::size_t expected_bytes) {
  out_.reserve(std::max(expected_bytes, head_size));
  out_.resize(head_size);
}

/// 0 and the text, which gets the next number; or its number.
void Encoder::shared(const Text& text) {
  const auto [at, is_new] = texts_.try_emplace(text.view(), texts_.size() + 1);
  put(out_, std::uint64_t{is_new ? 0 : at->second});
  if (is_new) put(out_, text.view());
}

/// Their number and one more; 0 for those of the object before.
void Encoder::labels(const api::Labels& labels) {
  if (labels == last_labels_) return put(out_, std::uint64_t{0});
  put(out_, std::uint64_t{labels.size() + 1});
  for (const auto& [key, value] : labels) {
    put(out_, key);
    put(out_, value);
  }
  last_labels_ = labels;
}

void Encoder::meta(const api::ObjectMeta& meta) {
  shared(meta.namespace_);
  put(out_, meta.name.view());
  put(out_, meta.uid.view());
  labels(meta.labels);
  put_signed(out_, meta.generation);
  put_signed(out_, meta.created);
  out_ += static_cast<char>(meta.terminating);
}

void Encoder::add(const api::Namespace& object) {
  out_ += static_cast<char>(api::Kind::namespace_);
  meta(object.meta);
}

void Encoder::add(const api::Node& object) {
  out_ += static_cast<char>(api::Kind::node);
  meta(object.meta);
  put_list(out_, object.addresses, [&](const net::IpAddr& ip) { put(out_, ip); });
  put_list(out_, object.pod_cidrs, [&](const net::Cidr& block) { put(out_, block); });
}

void Encoder::add(const api::Pod& object) {
  out_ += static_cast<char>(api::Kind::pod);
  meta(object.meta);
  shared(object.node);
  out_ += static_cast<char>(object.host_network);
  out_ += static_cast<char>(object.phase);
  put_list(out_, object.ips, [&](const net::IpAddr& ip) { put(out_, ip); });
  shared(object.workload_kind);
  shared(object.workload);
  if (object.named_ports == last_ports_) return put(out_, std::uint64_t{0});
  put(out_, std::uint64_t{object.named_ports.size() + 1});
  for (const api::ContainerPort& port : object.named_ports) {
    put(out_, port.name);
    out_ += static_cast<char>(port.protocol.number);
    put(out_, std::uint64_t{port.port.number});
  }
  last_ports_ = object.named_ports;
}

void Encoder::add(const api::NetworkPolicy& object) {
  out_ += static_cast<char>(api::Kind::network_policy);
  meta(object.meta);
  put(out_, object.pod_selector);
  out_ += static_cast<char>(object.isolates_ingress);
  out_ += static_cast<char>(object.isolates_egress);
  put(out_, object.ingress);
  put(out_, object.egress);
}

Encoder::Bytes Encoder::finish(const Origin& origin) && {
  Bytes bytes{std::move(out_), 0};
  const std::size_t objects_size = bytes.all.size() - head_size;
  const std::uint32_t objects_crc = crc32c(std::string_view(bytes.all).substr(head_size));
  const std::string tail = bytes_of(origin);
  bytes.all += tail;
  bytes.content = content_of(objects_crc, objects_size);
  char* head = bytes.all.data();
  std::copy(magic.begin(), magic.end(), head);
  put_number<4>(head + at_format, format);
  put_number<8>(head + at_objects_size, objects_size);
  put_number<4>(head + at_origin_size, tail.size());
  put_number<4>(head + at_objects_crc, objects_crc);
  put_number<4>(head + at_origin_crc, crc32c(tail));
  put_number<4>(head + at_head_crc, crc32c(std::string_view(bytes.all).substr(0, checked_head)));
  return bytes;
}

}  // namespace podfence::archive
