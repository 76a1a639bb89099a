#include "cni/netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "policy/base/cursor.h"

namespace podfence::cni {
namespace {

constexpr std::size_t largest_answer = 64 * 1024;
constexpr int patience_seconds = 5;  // the kernel answers at once; this is against waiting for ever

std::size_t aligned(std::size_t size) {
  return (size + 3U) & ~std::size_t{3};
}

tl::unexpected<Error> failed(const std::string& what, int error) {
  const bool absent = error == ENOENT || error == ENODEV;
  const bool forbidden = error == EPERM || error == EACCES;
  const Errc code = absent ? Errc::not_found : forbidden ? Errc::permission : Errc::refused;
  return fail(code, what + ": " + std::strerror(error));
}

template <class T>
std::optional<T> value_at(const Attributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  if (found == attributes.end() || found->second.size() != sizeof(T)) return std::nullopt;
  return Cursor(found->second).take_as<T>();
}

}  // namespace

Message::Message(std::uint16_t type, std::uint16_t flags) : wants_acknowledgement_((flags & NLM_F_ACK) != 0) {
  nlmsghdr start{};
  start.nlmsg_type = type;
  start.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  header(start);
}

Message& Message::bytes(std::span<const std::byte> value) {
  data_.insert(data_.end(), value.begin(), value.end());
  data_.resize(aligned(data_.size()));
  return *this;
}

Message& Message::raw(std::uint16_t type, std::span<const std::byte> value) {
  const nlattr start{static_cast<std::uint16_t>(sizeof(nlattr) + value.size()), type};
  header(start);
  return bytes(value);
}

Message& Message::text(std::uint16_t type, const std::string& value) {
  return raw(type, std::as_bytes(std::span(value.c_str(), value.size() + 1)));
}

Message& Message::begin(std::uint16_t type) {
  open_.push_back(data_.size());
  return header(nlattr{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)});
}

Message& Message::end() {
  const auto size = static_cast<std::uint16_t>(data_.size() - open_.back());
  std::memcpy(&data_[open_.back()], &size, sizeof(size));
  open_.pop_back();
  return *this;
}

std::vector<std::byte> Message::finish(std::uint32_t sequence) const {
  std::vector<std::byte> done = data_;
  nlmsghdr start;
  std::memcpy(&start, done.data(), sizeof(start));
  start.nlmsg_len = static_cast<std::uint32_t>(done.size());
  start.nlmsg_seq = sequence;
  std::memcpy(done.data(), &start, sizeof(start));
  return done;
}

Attributes attributes_in(std::span<const std::byte> bytes) {
  Attributes found;
  Cursor cursor(bytes);
  while (const auto start = cursor.take_as<nlattr>()) {
    if (start->nla_len < sizeof(nlattr)) break;
    const std::size_t size = start->nla_len - sizeof(nlattr);
    const auto value = cursor.take(size);
    if (!value) break;
    found[static_cast<std::uint16_t>(start->nla_type & NLA_TYPE_MASK)] = *value;
    if (!cursor.take(aligned(size) - size)) break;
  }
  return found;
}

std::optional<std::uint32_t> number_at(const Attributes& attributes, std::uint16_t type) {
  return value_at<std::uint32_t>(attributes, type);
}

std::optional<std::uint8_t> byte_at(const Attributes& attributes, std::uint16_t type) {
  return value_at<std::uint8_t>(attributes, type);
}

std::string text_at(const Attributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  if (found == attributes.end()) return {};
  const std::string_view text(reinterpret_cast<const char*>(found->second.data()), found->second.size());
  return std::string(text.substr(0, text.find('\0')));
}

Attributes nested_at(const Attributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  return found == attributes.end() ? Attributes{} : attributes_in(found->second);
}

Result<Netlink> Netlink::open(int protocol) {
  Descriptor fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return failed("netlink socket", errno);
  const timeval patience{patience_seconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  return Netlink(std::move(fd));
}

Result<std::vector<std::byte>> Netlink::ask(const std::vector<Message>& messages) {
  std::vector<std::byte> datagram;
  const std::uint32_t first = sequence_;
  std::uint32_t last = sequence_;
  for (const Message& message : messages) {
    if (message.wants_acknowledgement()) last = sequence_;
    const auto finished = message.finish(sequence_++);
    datagram.insert(datagram.end(), finished.begin(), finished.end());
  }
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  sockaddr_storage to{};
  std::memcpy(&to, &kernel, sizeof(kernel));
  const auto* address = reinterpret_cast<const sockaddr*>(&to);
  if (::sendto(fd_.get(), datagram.data(), datagram.size(), 0, address, sizeof(kernel)) < 0) {
    return failed("netlink send", errno);
  }
  return receive(first, last);
}

/// Until the last message of the question has its answer; answers to earlier questions are passed over.
Result<std::vector<std::byte>> Netlink::receive(std::uint32_t first, std::uint32_t last) {
  std::vector<std::byte> buffer(largest_answer);
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed("netlink receive", errno);
    Cursor cursor(std::span<const std::byte>(buffer).first(static_cast<std::size_t>(size)));
    while (const auto start = cursor.take_as<nlmsghdr>()) {
      if (start->nlmsg_len < sizeof(nlmsghdr)) break;
      const std::size_t length = start->nlmsg_len - sizeof(nlmsghdr);
      const auto payload = cursor.take(length);
      if (!payload) return fail(Errc::io, "netlink receive: a message is cut short");
      if (start->nlmsg_seq >= first && start->nlmsg_seq <= last) {
        if (start->nlmsg_type != NLMSG_ERROR) return std::vector<std::byte>(payload->begin(), payload->end());
        const auto error = Cursor(*payload).take_as<std::int32_t>();
        if (!error || *error != 0) return failed("the kernel", error ? -*error : EBADMSG);
        if (start->nlmsg_seq == last) return std::vector<std::byte>{};
      }
      if (!cursor.take(aligned(length) - length)) break;
    }
  }
}

}  // namespace podfence::cni
