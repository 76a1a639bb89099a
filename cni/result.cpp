#include "cni/result.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cni/raw_json.h"
#include "policy/net/cidr.h"

namespace podfence::cni {
namespace {

using Json = nlohmann::json;

tl::unexpected<Failure> bad(const std::string& what, std::string details = {}) {
  return refuse(Code::decoding_failure, "prevResult: " + what, std::move(details));
}

/// The value of `key` when it is a string, else nothing.
std::string text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// "10.0.0.2/24" -> 10.0.0.2
Outcome<net::IpAddr> read_address(const Json& holder, const char* key) {
  const std::string text = text_at(holder, key);
  if (auto block = net::Cidr::parse(text); !block || text.find('/') == std::string::npos) {
    return bad("an address is not in CIDR notation", text);
  }
  auto address = net::IpAddr::parse(std::string_view(text).substr(0, text.find('/')));
  if (!address) return bad(address.error().what());
  return *address;
}

void add_once(std::vector<net::IpAddr>& addresses, const net::IpAddr& address) {
  if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
}

/// 0.2.0 knows one interface and one address of each family.
Outcome<> read_old(const Json& result, PreviousResult& into) {
  for (const char* key : {"ip4", "ip6"}) {
    const auto entry = result.find(key);
    if (entry == result.end() || entry->is_null()) continue;
    if (!entry->is_object()) return bad(std::string(key) + " is no object");
    auto address = read_address(*entry, "ip");
    if (!address) return refuse(address.error());
    add_once(into.addresses, *address);
  }
  return {};
}

/// Numbers of the entries for the interface. Runtimes name one sandbox by different paths (/var/run, /run), so the
/// path decides only between several entries of the same name.
Outcome<std::set<std::size_t>> read_interfaces(const Json& result, std::string_view ifname, std::string_view netns,
                                               PreviousResult& into) {
  std::set<std::size_t> named;
  std::set<std::size_t> exact;
  const auto list = result.find("interfaces");
  if (list == result.end() || list->is_null()) return named;
  if (!list->is_array()) return bad("interfaces is no list");
  for (std::size_t i = 0; i < list->size(); ++i) {
    const Json& entry = (*list)[i];
    if (!entry.is_object()) return bad("an entry of interfaces is no object");
    const std::string name = text_at(entry, "name");
    const std::string sandbox = text_at(entry, "sandbox");
    if (sandbox.empty()) {
      if (!name.empty()) into.host_interfaces.push_back(name);
    } else if (name == ifname) {
      named.insert(i);
      if (sandbox == netns) exact.insert(i);
    }
  }
  return exact.empty() ? named : exact;
}

Outcome<> read_ips(const Json& result, const std::set<std::size_t>& interfaces, PreviousResult& into) {
  const auto list = result.find("ips");
  if (list == result.end() || list->is_null()) return {};
  if (!list->is_array()) return bad("ips is no list");
  for (const Json& entry : *list) {
    if (!entry.is_object()) return bad("an entry of ips is no object");
    auto address = read_address(entry, "address");
    if (!address) return refuse(address.error());
    const auto number = entry.find("interface");
    if (number != entry.end() && !number->is_null()) {
      if (!number->is_number_integer()) return bad("the interface of an address is no whole number", number->dump());
      const auto index = number->is_number_unsigned() ? number->get<std::uint64_t>() : ~std::uint64_t{0};
      if (interfaces.count(index) == 0) continue;
    }
    add_once(into.addresses, *address);
  }
  return {};
}

}  // namespace

Outcome<PreviousResult> read_result(std::string_view raw, std::string_view ifname, std::string_view netns) {
  const Json result = Json::parse(raw, nullptr, false);
  if (!result.is_object()) return bad("no JSON object");
  PreviousResult previous;
  if (auto read = read_old(result, previous); !read) return refuse(read.error());
  const auto interfaces = read_interfaces(result, ifname, netns, previous);
  if (!interfaces) return refuse(interfaces.error());
  if (auto read = read_ips(result, *interfaces, previous); !read) return refuse(read.error());
  return previous;
}

std::string result_as(std::string_view raw, std::string_view version) {
  const std::string quoted = '"' + std::string(version) + '"';
  const auto said = raw_member(raw, "cniVersion");
  return said && *said == quoted ? std::string(raw) : with_member(raw, "cniVersion", quoted);
}

}  // namespace podfence::cni
