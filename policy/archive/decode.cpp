#include <algorithm>
#include <utility>

#include "policy/archive/archive.h"
#include "policy/archive/crc32c.h"
#include "policy/archive/head.h"
#include "policy/archive/reader.h"

namespace podfence::archive {
namespace {

template <class T, class ReadOne>
std::vector<T> read_list(Reader& in, const ReadOne& read_one) {
  std::vector<T> list;
  const std::size_t count = in.count();
  list.reserve(std::min<std::size_t>(count, 64));  // what is claimed is not believed before it is there
  for (std::size_t i = 0; i < count && in.good(); ++i) list.push_back(read_one());
  if (list.capacity() > list.size()) list.shrink_to_fit();
  return list;
}

net::IpAddr read_ip(Reader& in) {
  const auto family = static_cast<net::Family>(in.byte());
  if (family != net::Family::ipv4 && family != net::Family::ipv6) {
    in.spoil("an address of no family");
    return {};
  }
  const auto bytes = in.take(net::address_size(family));
  return net::IpAddr::from_bytes(std::as_bytes(std::span(bytes))).value_or(net::IpAddr());
}

net::Cidr read_block(Reader& in) {
  const auto base = read_ip(in);
  const auto length = in.byte();
  if (length > net::address_size(base.family()) * 8) {
    in.spoil("a block that is longer than its addresses");
    return {};
  }
  return net::Cidr::around(base, length);
}

net::Port read_port(Reader& in) {
  const std::uint64_t number = in.number();
  if (number > 0xffff) in.spoil("a port that is none");
  return {static_cast<std::uint16_t>(number)};
}

std::string read_string(Reader& in) {
  return std::string(in.text());
}

api::LabelSelector read_selector(Reader& in) {
  api::LabelSelector selector;
  selector.invalid = in.flag();
  selector.requirements = read_list<api::Requirement>(in, [&] {
    api::Requirement r;
    r.key = read_string(in);
    r.op = in.byte_upto<api::Operator>(static_cast<unsigned>(api::Operator::does_not_exist));
    r.values = read_list<std::string>(in, [&] { return read_string(in); });
    return r;
  });
  return selector;
}

api::Peer read_peer(Reader& in) {
  switch (in.byte_upto(2)) {
    case 0: {
      api::PodPeer pods;
      if (in.flag()) pods.namespaces = read_selector(in);
      pods.pods = read_selector(in);
      return pods;
    }
    case 1: {
      api::IpBlock block;
      block.cidr = read_block(in);
      block.except = read_list<net::Cidr>(in, [&] { return read_block(in); });
      return block;
    }
    default:
      return api::Nothing{read_string(in)};
  }
}

api::PortSpec read_port_spec(Reader& in) {
  api::PortSpec spec;
  spec.protocol.number = in.byte();
  spec.whole_protocol = in.flag();
  switch (in.byte_upto(2)) {
    case 0: {
      const auto first = read_port(in);
      const auto last = read_port(in);
      if (last < first) in.spoil("a range of ports that ends before it begins");
      spec.port = net::PortRange{first, last};
      break;
    }
    case 1:
      spec.port = read_string(in);
      break;
    default:
      spec.port = api::Nothing{read_string(in)};
  }
  return spec;
}

std::vector<api::PolicyRule> read_rules(Reader& in) {
  return read_list<api::PolicyRule>(in, [&] {
    api::PolicyRule rule;
    rule.any_peer = in.flag();
    rule.peers = read_list<api::Peer>(in, [&] { return read_peer(in); });
    rule.any_port = in.flag();
    rule.ports = read_list<api::PortSpec>(in, [&] { return read_port_spec(in); });
    return rule;
  });
}

class ObjectReader {
 public:
  explicit ObjectReader(std::string_view bytes) : in_(bytes) {}

  bool at_end() const { return in_.at_end(); }
  const char* problem() const { return in_.problem(); }

  api::Object next() {
    switch (in_.byte_upto<api::Kind>(static_cast<unsigned>(api::Kind::network_policy))) {
      case api::Kind::namespace_:
        return api::Namespace{meta()};
      case api::Kind::node:
        return node();
      case api::Kind::pod:
        return pod();
      case api::Kind::network_policy:
        break;
    }
    return policy();
  }

 private:
  Text shared() {
    const std::uint64_t number = in_.number();
    if (number > texts_.size()) in_.spoil("a text that was not there before");
    if (!in_.good()) return {};
    if (number != 0) return texts_[number - 1];
    texts_.emplace_back(in_.text());
    return texts_.back();
  }

  /// One more than how many there are; nothing for those of the object before.
  std::optional<std::size_t> list_size() {
    const std::uint64_t size = in_.number();
    return size == 0 ? std::nullopt : std::optional(in_.fitting(size - 1));
  }

  api::Labels labels() {
    const auto size = list_size();
    if (!size) return labels_;
    std::vector<std::pair<std::string, std::string>> read;
    for (std::size_t i = 0; i < *size && in_.good(); ++i) {
      auto key = read_string(in_);
      read.emplace_back(std::move(key), read_string(in_));
    }
    read.shrink_to_fit();
    return labels_ = api::Labels(std::move(read));
  }

  SharedList<api::ContainerPort> ports() {
    const auto size = list_size();
    if (!size) return ports_;
    std::vector<api::ContainerPort> read;
    for (std::size_t i = 0; i < *size && in_.good(); ++i) {
      api::ContainerPort port;
      port.name = read_string(in_);
      port.protocol.number = in_.byte();
      port.port = read_port(in_);
      read.push_back(std::move(port));
    }
    read.shrink_to_fit();
    return ports_ = SharedList<api::ContainerPort>(std::move(read));
  }

  api::ObjectMeta meta() {
    api::ObjectMeta meta;
    meta.namespace_ = shared();
    meta.name = in_.text();
    meta.uid = in_.text();
    meta.labels = labels();
    meta.generation = in_.signed_number();
    meta.created = in_.signed_number();
    meta.terminating = in_.flag();
    return meta;
  }

  api::Object node() {
    api::Node node;
    node.meta = meta();
    node.addresses = read_list<net::IpAddr>(in_, [&] { return read_ip(in_); });
    node.pod_cidrs = read_list<net::Cidr>(in_, [&] { return read_block(in_); });
    return node;
  }

  api::Object pod() {
    api::Pod pod;
    pod.meta = meta();
    pod.node = shared();
    pod.host_network = in_.flag();
    pod.phase = in_.byte_upto<api::Phase>(static_cast<unsigned>(api::Phase::unknown));
    pod.ips = read_list<net::IpAddr>(in_, [&] { return read_ip(in_); });
    pod.workload_kind = shared();
    pod.workload = shared();
    pod.named_ports = ports();
    return pod;
  }

  api::Object policy() {
    api::NetworkPolicy policy;
    policy.meta = meta();
    policy.pod_selector = read_selector(in_);
    policy.isolates_ingress = in_.flag();
    policy.isolates_egress = in_.flag();
    policy.ingress = read_rules(in_);
    policy.egress = read_rules(in_);
    return policy;
  }

  Reader in_;
  std::vector<Text> texts_;
  api::Labels labels_;
  SharedList<api::ContainerPort> ports_;
};

struct Parts {
  std::string_view objects;
  std::string_view origin;
  std::uint64_t objects_crc = 0;
};

/// What the head says, held against what is there. The objects are not looked at.
Result<Parts> parts_of(std::string_view bytes) {
  const auto begins = bytes.substr(0, magic.size());
  if (begins.empty() || begins != magic.substr(0, begins.size())) return fail(Errc::invalid, "is no checkpoint");
  if (bytes.size() < head_size) return fail(Errc::invalid, "is cut short: it ends within its head");
  const auto said = number_at<4>(bytes, at_format);
  if (said != format) {
    return fail(Errc::invalid, "has format " + std::to_string(said) + ", of which this version knows nothing");
  }
  if (number_at<4>(bytes, at_head_crc) != crc32c(bytes.substr(0, checked_head))) {
    return fail(Errc::invalid, "is damaged: the checksum of its head does not fit");
  }
  const auto objects_size = number_at<8>(bytes, at_objects_size);
  const auto origin_size = number_at<4>(bytes, at_origin_size);
  const auto there = bytes.size() - head_size;
  if (objects_size > there || origin_size != there - objects_size) {
    return fail(Errc::invalid, "is cut short or too long: " + std::to_string(there) + " bytes instead of " +
                                   std::to_string(objects_size) + " and " + std::to_string(origin_size));
  }
  Parts parts;
  parts.objects = bytes.substr(head_size, static_cast<std::size_t>(objects_size));
  parts.origin = bytes.substr(head_size + static_cast<std::size_t>(objects_size));
  parts.objects_crc = number_at<4>(bytes, at_objects_crc);
  if (crc32c(parts.origin) != number_at<4>(bytes, at_origin_crc)) {
    return fail(Errc::invalid, "is damaged: the checksum of its origin does not fit");
  }
  return parts;
}

Result<Origin> read_origin(std::string_view bytes) {
  Reader in(bytes);
  Origin origin;
  for (auto* text : {&origin.node, &origin.cluster, &origin.server, &origin.boot}) *text = read_string(in);
  origin.written = in.signed_number();
  origin.narrow = read_list<std::string>(in, [&] { return read_string(in); });
  if (!in.good()) return fail(Errc::invalid, std::string("has an origin that cannot be read: ") + in.problem());
  if (!in.at_end()) return fail(Errc::invalid, "has more than an origin at its end");
  return origin;
}

}  // namespace

Result<Head> decode_head(std::string_view bytes) {
  const auto parts = parts_of(bytes);
  if (!parts) return fail(parts.error());
  auto origin = read_origin(parts->origin);
  if (!origin) return fail(origin.error());
  return Head{std::move(*origin), content_of(parts->objects_crc, parts->objects.size())};
}

Result<Origin> decode(std::string_view bytes, const std::function<void(api::Object)>& take) {
  const auto parts = parts_of(bytes);
  if (!parts) return fail(parts.error());
  if (crc32c(parts->objects) != parts->objects_crc) {
    return fail(Errc::invalid, "is damaged: the checksum of its objects does not fit");
  }
  auto origin = read_origin(parts->origin);
  if (!origin) return origin;
  ObjectReader objects(parts->objects);
  for (std::size_t number = 1; !objects.at_end(); ++number) {
    auto object = objects.next();
    if (objects.problem() != nullptr) {
      return fail(Errc::invalid, "object " + std::to_string(number) + " cannot be read: " + objects.problem());
    }
    take(std::move(object));
  }
  return origin;
}

}  // namespace podfence::archive
