#include "enforcer/netlink/batch.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/element.h"
#include "policy/program/rule.h"

namespace podfence::netlink {
namespace {

// One attribute holds at most 64 KiB; half of that keeps a refused message small to search.
constexpr std::size_t list_limit = 32 * 1024;
constexpr std::size_t kept_memory = 1024 * 1024;

nlmsghdr* at(std::vector<std::byte>& buffer, std::size_t offset) {
  return static_cast<nlmsghdr*>(static_cast<void*>(buffer.data() + offset));
}

/// Header of a batch's begin or end; 20 bytes.
nlmsghdr* put_marker(void* where, std::uint16_t type) {
  nlmsghdr* message = mnl_nlmsg_put_header(where);
  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST;
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = AF_UNSPEC;
  extra->version = NFNETLINK_V0;
  extra->res_id = htons(NFNL_SUBSYS_NFTABLES);
  return message;
}

}  // namespace

Batch::Batch() {
  clear();
}

void Batch::clear() {
  if (buffer_.size() > kept_memory) std::vector<std::byte>().swap(buffer_);
  used_ = 0;
  messages_ = 0;
  first_sequence_ = 0;
  origins_.clear();
  reserve(256);
  nlmsghdr* begin = put_marker(buffer_.data(), NFNL_MSG_BATCH_BEGIN);
  mnl_attr_put_u32(begin, NFNL_BATCH_GENID, 0);
  used_ = begin->nlmsg_len;
}

void Batch::reserve(std::size_t bytes) {
  if (buffer_.size() < used_ + bytes) buffer_.resize(std::max(buffer_.size() * 2, used_ + bytes));
}

nlmsghdr* Batch::start(std::uint16_t type, std::uint16_t flags) {
  reserve(message_room);
  open_ = used_;
  nlmsghdr* message = mnl_nlmsg_put_header(buffer_.data() + open_);
  message->nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | type);
  message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = NFPROTO_INET;
  extra->version = NFNETLINK_V0;
  extra->res_id = 0;
  return message;
}

void Batch::finish(const nlmsghdr* message) {
  used_ = open_ + aligned(message->nlmsg_len);
  ++messages_;
}

void Batch::put_elements(program::SetId set, std::span<const program::Element> elements, bool removal) {
  const std::string table(program::table_name);
  const std::string name(program::name_of(set));
  while (!elements.empty()) {
    const auto type = removal ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM;
    nlmsghdr* message = start(static_cast<std::uint16_t>(type), removal ? 0 : NLM_F_CREATE | NLM_F_EXCL);
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, table.c_str());
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, name.c_str());
    nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    const std::size_t before = message->nlmsg_len;
    std::size_t count = 0;
    while (count < elements.size() && message->nlmsg_len - before + max_element_size <= list_limit) {
      put_element(message, set, elements[count], !removal);
      ++count;
    }
    mnl_attr_nest_end(message, list);
    finish(message);
    origins_.push_back({messages_, set, elements.first(count), removal});
    elements = elements.subspan(count);
  }
}

std::span<const std::byte> Batch::seal(std::uint32_t generation, std::uint32_t first_sequence) {
  first_sequence_ = first_sequence;
  std::size_t offset = 0;
  nlmsghdr* message = nullptr;
  for (std::uint32_t i = 0; offset < used_; ++i) {
    message = at(buffer_, offset);
    message->nlmsg_seq = first_sequence + i;
    offset += aligned(message->nlmsg_len);
  }
  // Linux 6.1 acknowledges no markers: the last message before the end does it for all.
  if (messages_ > 0) message->nlmsg_flags |= NLM_F_ACK;
  const std::uint32_t number = htonl(generation);
  std::memcpy(buffer_.data() + sizeof(nlmsghdr) + sizeof(nfgenmsg) + sizeof(nlattr), &number, sizeof(number));
  reserve(256);
  nlmsghdr* end = put_marker(buffer_.data() + used_, NFNL_MSG_BATCH_END);
  end->nlmsg_seq = first_sequence + messages_ + 1;
  return std::span(buffer_).first(used_ + end->nlmsg_len);
}

std::optional<Batch::Culprit> Batch::culprit(std::uint32_t sequence, std::optional<std::uint32_t> offset) const {
  const auto found = std::find_if(origins_.begin(), origins_.end(),
                                  [&](const Origin& origin) { return first_sequence_ + origin.sequence == sequence; });
  if (found == origins_.end()) return std::nullopt;
  Culprit culprit{found->set, std::nullopt, found->removal};
  if (found->elements.size() == 1) culprit.element = found->elements.front();
  if (!offset) return culprit;

  // The offset points at or into one NFTA_LIST_ELEM: count how many stand before it.
  std::size_t where = 0;
  std::size_t message_at = 0;
  for (std::uint32_t i = 0; i < found->sequence; ++i) {
    nlmsghdr header{};
    std::memcpy(&header, buffer_.data() + message_at, sizeof(header));
    message_at += aligned(header.nlmsg_len);
  }
  nlmsghdr header{};
  std::memcpy(&header, buffer_.data() + message_at, sizeof(header));
  const auto body =
      std::span(buffer_).subspan(message_at, header.nlmsg_len).subspan(sizeof(nlmsghdr) + sizeof(nfgenmsg));
  const std::byte* target = buffer_.data() + message_at + *offset;
  for_each_attribute(body, [&](const Attribute& list) {
    if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
    for_each_attribute(list.value, [&](const Attribute& element) {
      if (element.value.data() + element.value.size() <= target) ++where;
    });
  });
  for (const program::Element& element : found->elements) {
    const std::size_t parts = kernel_elements(found->set, element);
    if (where < parts) {
      culprit.element = element;
      break;
    }
    where -= parts;
  }
  return culprit;
}

}  // namespace podfence::netlink
