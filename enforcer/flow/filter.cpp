#include "enforcer/flow/filter.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <utility>

#include "policy/base/json_writer.h"

namespace podfence::flow {
namespace {

/// Printable, in one piece: what is not ASCII or would break a line is written as JSON escapes it.
std::string safe(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);
  return quoted.substr(1, quoted.size() - 2);
}

bool has_policy(const LoggedLine& line, std::string_view wanted) {
  return std::any_of(line.policies.begin(), line.policies.end(), [&](const PolicyRef& policy) {
    return policy.name == wanted || policy.namespace_ + "/" + policy.name == wanted;
  });
}

bool any_matches(const std::vector<EndpointFilter>& filters, const Endpoint& end) {
  return filters.empty() ||
         std::any_of(filters.begin(), filters.end(), [&](const EndpointFilter& filter) { return filter.matches(end); });
}

std::string address(const Endpoint& end) {
  std::string text = end.ip ? end.ip->text() : std::string("?");
  if (!end.port) return text;
  if (end.ip && end.ip->family() == net::Family::ipv6) text = '[' + text + ']';
  return text + ':' + std::to_string(end.port->number);
}

std::string who(const Endpoint& end) {
  switch (end.type) {
    case EndpointType::pod:
      return safe(end.k8s.namespace_) + '/' + safe(end.k8s.pod) + ' ' + address(end);
    case EndpointType::node:
      return "node/" + safe(end.k8s.node) + ' ' + address(end);
    case EndpointType::world:
      return address(end);
    case EndpointType::unknown:
      return "unknown " + address(end);
  }
  return address(end);
}

std::string by_whom(const LoggedLine& line) {
  if (line.policies.empty()) return line.reason.empty() ? std::string() : " (" + safe(line.reason) + ')';
  std::string text = " by ";
  for (std::size_t i = 0; i < line.policies.size(); ++i) {
    if (i > 0) text += ", ";
    text += safe(line.policies[i].namespace_) + '/' + safe(line.policies[i].name);
  }
  if (line.policies_truncated) text += ", ...";
  if (line.attribution == name_of(Attribution::stale)) text += " (changed meanwhile)";
  return text;
}

/// "2026-11-23 17:30:00.123"
std::string short_time(TimePoint t) {
  std::string text = text_of(t).substr(0, 23);
  text[10] = ' ';
  return text;
}

}  // namespace

bool EndpointFilter::matches(const Endpoint& end) const {
  if (block) return end.ip && block->contains(*end.ip);
  return end.k8s.namespace_ == namespace_ && (pod.empty() || end.k8s.pod == pod);
}

Result<EndpointFilter> parse_endpoint_filter(std::string_view text) {
  EndpointFilter filter;
  if (const auto ip = net::IpAddr::parse(text)) {
    filter.block = net::Cidr::around(*ip, static_cast<std::uint8_t>(net::address_size(ip->family()) * 8));
    return filter;
  }
  if (const auto block = net::Cidr::parse(text)) {
    filter.block = *block;
    return filter;
  }
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || text.find('/', slash + 1) != std::string_view::npos) {
    return fail(Errc::invalid,
                "'" + std::string(text) + "' is none of namespace/pod, namespace/, an IP address, a CIDR block");
  }
  filter.namespace_ = std::string(text.substr(0, slash));
  filter.pod = std::string(text.substr(slash + 1));
  return filter;
}

bool Filter::matches(const LoggedLine& line) const {
  if (since && std::max(line.time, line.end) < *since) return false;
  if (line.type == "loss") return true;
  if (line.type != "flow") return !deny && from.empty() && to.empty() && !port && policy.empty();
  if (deny && line.verdict != name_of(Verdict::deny)) return false;
  if (port && line.destination.port != port) return false;
  if (!policy.empty() && !has_policy(line, policy)) return false;
  return any_matches(from, line.source) && any_matches(to, line.destination);
}

std::string text_line(const LoggedLine& line) {
  std::string text = short_time(line.time);
  if (line.type == "loss") {
    text += " LOST " + std::to_string(line.lost) + " denied packets that no record tells of (" + safe(line.stage) + ')';
    return line.exact ? text : text + ", at most";
  }
  if (line.type != "flow") {
    text += ' ' + safe(line.type) + ' ' + safe(line.event);
    return line.detail.empty() ? text : text + ' ' + safe(line.detail);
  }
  text += ' ' + safe(line.verdict);
  if (!line.direction.empty()) text += ' ' + safe(line.direction);
  text += ' ' + who(line.source) + " -> " + who(line.destination);
  if (!line.transport.empty()) text += '/' + safe(line.transport);
  if (line.count > 1) text += " x" + std::to_string(line.count);
  return text + by_whom(line);
}

Result<std::size_t> read_history(const std::string& path, const Filter& filter,
                                 const std::function<bool(const LoggedLine& line, std::string_view json)>& each) {
  LineParser parser;
  std::size_t skipped = 0;
  bool more = true;
  const auto take = [&](std::string_view json) {
    const auto line = parser.parse(json);
    if (!line) {
      ++skipped;
    } else if (filter.matches(*line)) {
      more = each(*line, json);
    }
    return more;
  };
  for (const std::string& file : rotated_files(path)) {
    if (!more) return skipped;
    std::ignore = for_each_line(file, 0, take);  // may have been deleted meanwhile
  }
  if (!more) return skipped;
  if (auto done = for_each_line(path, 0, take); !done) return fail(done.error());
  return skipped;
}

Follower::Follower(std::string path, Filter filter) : path_(std::move(path)), filter_(std::move(filter)) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) return;
  position_ = {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size)};
}

Result<> Follower::poll(const std::function<void(const LoggedLine& line, std::string_view json)>& each) {
  const auto read = [&](const std::string& file) {
    return for_each_line(file, position_.offset, [&](std::string_view json) {
      position_.offset += json.size() + 1;
      const auto line = parser_.parse(json);
      if (line && filter_.matches(*line)) each(*line, json);
      return true;
    });
  };
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) return {};  // between two files
  const bool same = status.st_dev == position_.device && status.st_ino == position_.inode;
  if (!same) {
    for (const std::string& file : rotated_files(path_)) {  // the rest of the one that was rotated
      struct stat rotated {};
      if (::stat(file.c_str(), &rotated) == 0 && rotated.st_dev == position_.device &&
          rotated.st_ino == position_.inode) {
        std::ignore = read(file);
      }
    }
    position_ = {status.st_dev, status.st_ino, 0};
  }
  if (static_cast<std::uint64_t>(status.st_size) < position_.offset) position_.offset = 0;
  return read(path_);
}

}  // namespace podfence::flow
