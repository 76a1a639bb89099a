#include "enforcer/netlink/socket.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "enforcer/netlink/attribute.h"
#include "policy/base/cursor.h"

namespace podfence::netlink {
namespace {

constexpr std::size_t receive_size = 64 * 1024;  // the kernel's dumps use at most 32 KiB for a datagram
constexpr unsigned default_deadline_ms = 5000;

Errc errc_of_socket(int error) {
  return error == EAGAIN ? Errc::unavailable : errc_of(error);
}

/// The attributes behind the error: text and offset.
void parse_ack_attributes(std::span<const std::byte> attributes, Ack& ack) {
  for_each_attribute(attributes, [&](const Attribute& attribute) {
    if (attribute.type == NLMSGERR_ATTR_MSG) ack.text = attribute.text();
    if (attribute.type == NLMSGERR_ATTR_OFFS) ack.offset = Cursor(attribute.value).take_as<std::uint32_t>();
  });
}

/// What an NLMSG_ERROR or NLMSG_DONE says: a number that is 0 or a negative errno.
std::optional<int> error_number(std::span<const std::byte> payload) {
  const auto number = Cursor(payload).take_as<std::int32_t>();
  if (!number || *number == std::numeric_limits<std::int32_t>::min()) return std::nullopt;
  return *number < 0 ? -*number : *number;
}

}  // namespace

std::optional<Ack> parse_ack(std::span<const std::byte> message) {
  Cursor cursor(message);
  const auto header = cursor.take_as<nlmsghdr>();
  if (!header || header->nlmsg_type != NLMSG_ERROR || header->nlmsg_len > message.size()) return std::nullopt;
  cursor = Cursor(message.first(header->nlmsg_len).subspan(std::min<std::size_t>(sizeof(nlmsghdr), header->nlmsg_len)));
  const auto error = cursor.take_as<nlmsgerr>();
  if (!error || error->error == std::numeric_limits<int>::min()) return std::nullopt;

  Ack ack;
  ack.sequence = error->msg.nlmsg_seq;
  ack.error = error->error < 0 ? -error->error : error->error;
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return ack;
  // Unless capped, what we sent stands between the error and its attributes.
  if (ack.error != 0 && (header->nlmsg_flags & NLM_F_CAPPED) == 0) {
    if (error->msg.nlmsg_len < sizeof(nlmsghdr)) return ack;
    if (!cursor.take(aligned(error->msg.nlmsg_len - sizeof(nlmsghdr)))) return ack;
  }
  parse_ack_attributes(cursor.rest(), ack);
  return ack;
}

Result<Socket> Socket::open(int protocol) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    const int error = errno;
    return fail(errc_of(error), "netlink socket: " + errno_text(error));
  }
  Socket socket(fd, 0);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  const auto* bound = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  auto* own = static_cast<sockaddr*>(static_cast<void*>(&address));
  socklen_t length = sizeof(address);
  if (::bind(fd, bound, sizeof(address)) != 0 || ::getsockname(fd, own, &length) != 0) {
    const int error = errno;
    return fail(errc_of(error), "netlink socket: bind: " + errno_text(error));
  }
  socket.port_id_ = address.nl_pid;
  // Older kernels know neither; errors are then only shorter.
  const int on = 1;
  std::ignore = ::setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
  std::ignore = ::setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
  if (auto set = socket.set_receive_timeout(default_deadline_ms); !set) return fail(set.error());
  return socket;
}

Socket::Socket(int fd, std::uint32_t port_id) : fd_(fd), port_id_(port_id), buffer_(receive_size) {}

Socket::Socket(Socket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      port_id_(other.port_id_),
      sequence_(other.sequence_),
      buffer_(std::move(other.buffer_)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(port_id_, other.port_id_);
  std::swap(sequence_, other.sequence_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<> Socket::join(unsigned group) {
  if (::setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) {
    const int error = errno;
    return fail(errc_of(error), "netlink group " + std::to_string(group) + ": " + errno_text(error));
  }
  return {};
}

void Socket::grow_send_buffer(std::size_t bytes) {
  const int size = static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max() / 2));
  if (::setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0) return;
  std::ignore = ::setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void Socket::grow_receive_buffer(std::size_t bytes) {
  const int size = static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max() / 2));
  if (::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) == 0) return;
  std::ignore = ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

Result<> Socket::set_receive_timeout(unsigned milliseconds) {
  const int flags = ::fcntl(fd_, F_GETFL);
  const int wanted = milliseconds == 0 ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  timeval time{};
  time.tv_sec = milliseconds / 1000;
  time.tv_usec = static_cast<suseconds_t>(milliseconds % 1000) * 1000;
  if (flags < 0 || ::fcntl(fd_, F_SETFL, wanted) != 0 ||
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) != 0) {
    const int error = errno;
    return fail(Errc::io, "netlink socket: receive timeout: " + errno_text(error));
  }
  return {};
}

Result<> Socket::send(std::span<const std::byte> bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const auto* address = static_cast<const sockaddr*>(static_cast<const void*>(&kernel));
  for (;;) {
    const auto sent = ::sendto(fd_, bytes.data(), bytes.size(), 0, address, sizeof(kernel));
    if (sent == static_cast<ssize_t>(bytes.size())) return {};
    const int error = sent < 0 ? errno : EMSGSIZE;
    if (error == EINTR) continue;
    return fail(errc_of_socket(error),
                "netlink send of " + std::to_string(bytes.size()) + " bytes: " + errno_text(error));
  }
}

Result<std::span<const std::byte>> Socket::receive() {
  for (;;) {
    sockaddr_nl sender{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr header{};
    header.msg_name = &sender;
    header.msg_namelen = sizeof(sender);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const auto size = ::recvmsg(fd_, &header, 0);
    if (size < 0) {
      const int error = errno;
      if (error == EINTR) continue;
      if (error == ENOBUFS) return fail(Errc::busy, "netlink receive: messages were lost (ENOBUFS)");
      if (error == EAGAIN) return fail(Errc::unavailable, "netlink receive: no answer before the deadline");
      return fail(Errc::io, "netlink receive: " + errno_text(error));
    }
    if (header.msg_namelen != sizeof(sender) || sender.nl_pid != 0) continue;  // not from the kernel
    if ((header.msg_flags & MSG_TRUNC) != 0) return fail(Errc::limit, "netlink receive: a datagram was cut short");
    return std::span<const std::byte>(buffer_).first(static_cast<std::size_t>(size));
  }
}

Result<Ack> Socket::request(nlmsghdr* message) {
  message->nlmsg_seq = next_sequence();
  message->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  if (auto sent = send(bytes_of(message)); !sent) return fail(sent.error());
  for (;;) {
    const auto datagram = receive();
    if (!datagram) return fail(datagram.error());
    std::optional<Ack> answer;
    for_each_message(*datagram, [&](const nlmsghdr* part) {
      const auto ack = parse_ack(bytes_of(part));
      if (ack && ack->sequence == message->nlmsg_seq) answer = ack;
      return !answer;
    });
    if (answer) return *answer;
  }
}

Result<> Socket::query(nlmsghdr* message, const std::function<void(const nlmsghdr*)>& each) {
  message->nlmsg_seq = next_sequence();
  message->nlmsg_flags |= NLM_F_REQUEST;
  if (auto sent = send(bytes_of(message)); !sent) return sent;
  for (;;) {
    const auto datagram = receive();
    if (!datagram) return fail(datagram.error());
    bool answered = false;
    std::optional<Ack> error;
    for_each_message(*datagram, [&](const nlmsghdr* part) {
      if (part->nlmsg_seq != message->nlmsg_seq) return true;
      answered = true;
      if (part->nlmsg_type == NLMSG_ERROR) {
        error = parse_ack(bytes_of(part)).value_or(Ack{message->nlmsg_seq, EBADMSG, {}, {}});
      } else if (part->nlmsg_type >= NLMSG_MIN_TYPE) {
        each(part);
      }
      return false;
    });
    if (error) return fail(errc_of(error->error), describe(*error));
    if (answered) return {};
  }
}

Result<> Socket::dump(nlmsghdr* message, const std::function<void(const nlmsghdr*)>& each) {
  message->nlmsg_seq = next_sequence();
  message->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
  if (auto sent = send(bytes_of(message)); !sent) return sent;
  bool interrupted = false;
  for (;;) {
    const auto datagram = receive();
    if (!datagram) return fail(datagram.error());
    std::optional<int> end;  // the error at the end of the dump, 0 = none
    std::string text;
    for_each_message(*datagram, [&](const nlmsghdr* part) {
      if (part->nlmsg_seq != message->nlmsg_seq) return true;  // a leftover, or a notification
      interrupted = interrupted || (part->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (part->nlmsg_type == NLMSG_ERROR) {
        const auto ack = parse_ack(bytes_of(part));
        end = ack ? ack->error : EBADMSG;
        text = ack ? describe(*ack) : errno_text(EBADMSG);
      } else if (part->nlmsg_type == NLMSG_DONE) {
        end = error_number(attributes_of(part, 0)).value_or(0);
        text = errno_text(*end);
      } else if (part->nlmsg_type >= NLMSG_MIN_TYPE) {
        each(part);
      }
      return !end;
    });
    if (!end) continue;
    if (*end != 0) return fail(errc_of(*end), "netlink dump: " + text);
    if (interrupted) return fail(Errc::busy, "netlink dump: the kernel's state changed meanwhile");
    return {};
  }
}

std::string errno_text(int error) {
  const char* name = ::strerrorname_np(error);
  const char* text = ::strerrordesc_np(error);
  if (name == nullptr || text == nullptr) return "error " + std::to_string(error);
  return std::string(text) + " (" + name + ")";
}

std::string describe(const Ack& ack) {
  auto text = errno_text(ack.error);
  if (!ack.text.empty()) text += ": " + ack.text;
  return text;
}

Errc errc_of(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return Errc::permission;
    case EBUSY:
    case EAGAIN:
    case ERESTART:
    case EINTR:
      return Errc::busy;
    case ENOENT:
      return Errc::not_found;
    default:
      return Errc::refused;
  }
}

}  // namespace podfence::netlink
