#include "enforcer/flow/nflog_socket.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "policy/base/cursor.h"

namespace podfence::flow {
namespace {

// The kernel fills a batch up to the room that its allocator gave, which may be twice what was asked for.
constexpr std::size_t datagram_size = 256 * 1024;

std::string listeners_text() {
  const std::ifstream file("/proc/net/netfilter/nfnetlink_log");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The next word of a line of columns.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

std::optional<std::uint32_t> number_in(std::string_view word) {
  std::uint32_t number = 0;
  const auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (ec != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return number;
}

/// The kernel answers EPERM both for a group that another socket owns and for a missing capability.
Error refusal(const netlink::Ack& ack, std::uint16_t group) {
  const std::string what = "NFLOG group " + std::to_string(group) + ": ";
  if (ack.error != EPERM && ack.error != EBUSY)
    return Error(netlink::errc_of(ack.error), what + netlink::describe(ack));
  if (const auto owner = listener_of(listeners_text(), group)) {
    return Error(Errc::busy, what + "taken by another listener (netlink port id " + std::to_string(*owner) +
                                 ", often its process id); choose another group");
  }
  return Error(Errc::permission, what + "not permitted: CAP_NET_ADMIN is missing in this network namespace");
}

}  // namespace

std::optional<std::uint32_t> listener_of(std::string_view proc_text, std::uint16_t group) {
  while (!proc_text.empty()) {
    std::string_view line = proc_text.substr(0, proc_text.find('\n'));
    proc_text.remove_prefix(std::min(line.size() + 1, proc_text.size()));
    const auto row_group = number_in(take_word(line));
    const auto port_id = number_in(take_word(line));
    if (row_group == group && port_id) return port_id;
  }
  return std::nullopt;
}

NflogSocket::NflogSocket(netlink::Socket socket) : socket_(std::move(socket)), buffer_(datagram_size) {}

Result<NflogSocket> NflogSocket::open(const NflogSettings& settings) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(std::move(socket.error()).in("NFLOG group " + std::to_string(settings.group)));
  NflogSocket opened(std::move(*socket));
  if (auto configured = opened.configure(settings); !configured) return fail(configured.error());
  return opened;
}

/// All settings go in the message that binds, so that no packet is ever logged under others.
Result<> NflogSocket::configure(const NflogSettings& settings) {
  socket_.grow_receive_buffer(settings.receive_buffer);
  const int on = 1;
  // Without it one overrun drops everything until the buffer is empty; the sequence tells what was lost either way.
  if (::setsockopt(socket_.fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on)) != 0) {
    const int error = errno;
    return fail(Errc::io, "NFLOG socket: NETLINK_NO_ENOBUFS: " + netlink::errno_text(error));
  }
  alignas(nlmsghdr) std::array<char, 512> bytes{};
  nlmsghdr* message = mnl_nlmsg_put_header(bytes.data());
  message->nlmsg_type = (NFNL_SUBSYS_ULOG << 8U) | NFULNL_MSG_CONFIG;
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  family->nfgen_family = AF_UNSPEC;
  family->version = NFNETLINK_V0;
  family->res_id = htons(settings.group);
  nfulnl_msg_config_cmd bind{};
  bind.command = NFULNL_CFG_CMD_BIND;
  mnl_attr_put(message, NFULA_CFG_CMD, sizeof(bind), &bind);
  nfulnl_msg_config_mode mode{};
  mode.copy_range = htonl(settings.copy_range);
  mode.copy_mode = NFULNL_COPY_PACKET;
  mnl_attr_put(message, NFULA_CFG_MODE, sizeof(mode), &mode);
  mnl_attr_put_u32(message, NFULA_CFG_NLBUFSIZ, htonl(settings.kernel_buffer));
  mnl_attr_put_u32(message, NFULA_CFG_TIMEOUT, htonl(settings.flush_timeout));
  mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htonl(settings.queue_threshold));
  mnl_attr_put_u16(message, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
  const auto ack = socket_.request(message);
  if (!ack) return fail(Error(ack.error()).in("NFLOG group " + std::to_string(settings.group)));
  if (ack->error != 0) return fail(refusal(*ack, settings.group));
  return {};
}

/// The first message after binding is the baseline: what was logged before it is found by comparing counters.
std::uint32_t NflogSocket::gap_before(const LoggedPacket& packet) {
  if (!packet.sequence) return 0;
  const std::uint32_t gap = next_sequence_ ? *packet.sequence - *next_sequence_ : 0;
  next_sequence_ = *packet.sequence + 1;
  return gap;
}

NflogSocket::Reading NflogSocket::read(std::size_t most_datagrams,
                                       const std::function<void(const LoggedPacket& packet, std::uint32_t gap)>& each) {
  Reading reading;
  for (std::size_t n = 0; n < most_datagrams; ++n) {
    sockaddr_nl sender{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr header{};
    header.msg_name = &sender;
    header.msg_namelen = sizeof(sender);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const auto size = ::recvmsg(socket_.fd(), &header, MSG_DONTWAIT);
    if (size < 0) {
      const int error = errno;
      if (error == EINTR || error == ENOBUFS) continue;
      reading.drained = error == EAGAIN;
      if (!reading.drained) reading.error = "NFLOG socket: " + netlink::errno_text(error);
      return reading;
    }
    if (header.msg_namelen != sizeof(sender) || sender.nl_pid != 0) continue;  // not from the kernel
    std::span<const std::byte> rest(buffer_.data(), static_cast<std::size_t>(size));
    while (rest.size() >= sizeof(nlmsghdr)) {
      const auto message_header = Cursor(rest).take_as<nlmsghdr>();
      const std::size_t length = message_header->nlmsg_len;
      if (length < sizeof(nlmsghdr) || length > rest.size()) {
        ++reading.malformed;
        break;
      }
      if (message_header->nlmsg_type >= NLMSG_MIN_TYPE) {
        const auto packet = decode_nflog(rest.first(length));
        if (packet) {
          const std::uint32_t gap = gap_before(*packet);
          reading.gap += gap;
          ++reading.messages;
          each(*packet, gap);
        } else {
          ++reading.malformed;
        }
      }
      rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(length), rest.size()));
    }
  }
  return reading;
}

}  // namespace podfence::flow
