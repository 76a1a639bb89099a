#include "enforcer/netlink/rule_codec.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <netinet/in.h>

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

#include <array>
#include <climits>
#include <cstring>

#include "enforcer/netlink/element.h"
#include "policy/base/overloaded.h"
#include "policy/program/observe.h"

namespace podfence::netlink {
namespace {

using net::Family;
using program::Side;
using program::Statement;

// From linux/netfilter/nf_conntrack_common.h, where it is for the kernel only: IP_CT_ESTABLISHED and IP_CT_RELATED.
constexpr std::uint32_t state_established_related = (1U << (IP_CT_ESTABLISHED + 1)) | (1U << (IP_CT_RELATED + 1));
constexpr std::uint32_t state_new = 1U << (IP_CT_NEW + 1);
constexpr std::uint32_t ct_direction_reply = 1;
constexpr std::uint8_t first_discovery_type = 133;  // router solicitation
constexpr std::uint8_t last_discovery_type = 137;   // redirect

using LabelBits = std::array<unsigned long, 128 / (CHAR_BIT * sizeof(unsigned long))>;

LabelBits label_bits(std::uint8_t bit) {
  constexpr std::size_t width = CHAR_BIT * sizeof(unsigned long);
  LabelBits bits{};
  bits.at(bit / width) = 1UL << (bit % width);
  return bits;
}

/// Registers are counted in words of four bytes. The kernel calls every fourth one by its old name.
constexpr std::uint32_t reg(std::uint32_t word) {
  return word % 4 == 0 ? NFT_REG_1 + word / 4 : NFT_REG32_00 + word;
}

class Encoder {
 public:
  explicit Encoder(nftnl_rule* rule) : rule_(rule) {}

  void operator()(const program::MatchEstablished& s) {
    ct_load(NFT_CT_STATE);
    mask(&state_established_related, sizeof(state_established_related));
    cmp_not_zero(sizeof(state_established_related));
    const auto bits = label_bits(s.label_bit);
    ct_load(NFT_CT_LABELS);
    mask(bits.data(), sizeof(bits));
    cmp_not_zero(sizeof(bits));
  }
  void operator()(const program::MatchReply&) {
    ct_load(NFT_CT_DIRECTION);
    cmp(NFT_CMP_EQ, static_cast<std::uint8_t>(ct_direction_reply));
  }
  void operator()(const program::MatchFamily& s) { need_family(s.family); }
  void operator()(const program::MatchNeighbourDiscovery&) {
    need_family(Family::ipv6);
    meta_load(NFT_META_L4PROTO, 0);
    cmp(NFT_CMP_EQ, net::icmpv6.number);
    payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, 0);
    cmp(NFT_CMP_GTE, first_discovery_type);
    cmp(NFT_CMP_LTE, last_discovery_type);
  }
  void operator()(const program::MatchAddress& s) {
    need_family(s.set.family);
    address(s.side, s.set.family, 0);
    lookup(s.set, s.negated, false);
  }
  void operator()(const program::MatchSelf& s) {
    need_family(s.set.family);
    const std::uint32_t words = address(Side::source, s.set.family, 0);
    address(Side::destination, s.set.family, words);
    lookup(s.set, false, false);
  }
  void operator()(const program::MatchTuple& s) { tuple(s); }
  void operator()(const program::ClearClass&) {
    const std::uint32_t none = 0;
    immediate(&none, sizeof(none));
    meta_set_priority();
  }
  void operator()(const program::LoadClass& s) {
    need_family(s.set.family);
    address(s.side, s.set.family, 0);
    lookup(s.set, false, true);
    meta_set_priority();
  }
  void operator()(const program::SetLabel& s) {
    const auto bits = label_bits(s.bit);
    immediate(bits.data(), sizeof(bits));
    nftnl_expr* e = add("ct");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_LABELS);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_SREG, reg(0));
  }
  void operator()(const program::Count& s) {
    nftnl_expr* e = add("objref");
    nftnl_expr_set_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
    nftnl_expr_set_str(e, NFTNL_EXPR_OBJREF_IMM_NAME, s.counter.c_str());
  }
  void operator()(const program::CountClass& s) {
    meta_load(NFT_META_PRIORITY, 0);
    nftnl_expr* e = add("dynset");
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, reg(0));
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_ADD);
    nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, s.tally.c_str());
    nftnl_expr_set(e, NFTNL_EXPR_DYNSET_EXPR, nftnl_expr_alloc("counter"), 0);
  }
  void operator()(const program::OverSourceRate& s) {
    if (s.key == program::OverSourceRate::Key::source_address) {
      need_family(s.family);
      address(Side::source, s.family, 0);
    } else {
      meta_load(NFT_META_IIF, 0);
    }
    nftnl_expr* e = add("dynset");
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, reg(0));
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_ADD);
    nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, program::meter_timeout_seconds * 1000ULL);
    nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, s.meter.c_str());
    nftnl_expr* limit = nftnl_expr_alloc("limit");
    fill_limit(limit, s.rate, s.burst);
    nftnl_expr_set(e, NFTNL_EXPR_DYNSET_EXPR, limit, 0);
  }
  void operator()(const program::OverNodeRate& s) { fill_limit(add("limit"), s.rate, s.burst); }
  void operator()(const program::Log& s) {
    nftnl_expr* e = add("log");
    nftnl_expr_set_str(e, NFTNL_EXPR_LOG_PREFIX, s.prefix.c_str());
    nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_GROUP, s.group);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOG_SNAPLEN, program::log_snaplen);
  }
  void operator()(const program::Accept&) { verdict(NF_ACCEPT); }
  void operator()(const program::Drop&) { verdict(NF_DROP); }
  void operator()(const program::Jump& s) { verdict(NFT_JUMP, s.chain.c_str()); }
  void operator()(const program::Goto& s) { verdict(NFT_GOTO, s.chain.c_str()); }
  void operator()(const program::MatchFirstPacket&) {
    ct_load(NFT_CT_STATE);
    mask(&state_new, sizeof(state_new));
    cmp_not_zero(sizeof(state_new));
    const std::uint32_t confirmed = IPS_CONFIRMED;
    ct_load(NFT_CT_STATUS);
    mask(&confirmed, sizeof(confirmed));
    const std::uint32_t none = 0;
    cmp(NFT_CMP_EQ, &none, sizeof(none));
  }
  void operator()(const program::MatchObserved& s) {
    need_family(s.family);
    address(s.side, s.family, 0);
    nftnl_expr* e = add("lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, reg(0));
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, program::observed_set(s.family).c_str());
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0);
  }

 private:
  nftnl_expr* add(const char* name) {
    nftnl_expr* e = nftnl_expr_alloc(name);
    nftnl_rule_add_expr(rule_, e);
    return e;
  }

  /// nft reads "ip saddr" back only behind a comparison of the family; one for each rule.
  void need_family(Family family) {
    if (family_ == family) return;
    family_ = family;
    meta_load(NFT_META_NFPROTO, 0);
    cmp(NFT_CMP_EQ, static_cast<std::uint8_t>(family == Family::ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6));
  }

  /// Words used.
  std::uint32_t address(Side side, Family family, std::uint32_t word) {
    const auto size = static_cast<std::uint32_t>(net::address_size(family));
    const std::uint32_t source_offset = family == Family::ipv4 ? 12 : 8;
    payload(NFT_PAYLOAD_NETWORK_HEADER, side == Side::source ? source_offset : source_offset + size, size, word);
    return size / 4;
  }

  void tuple(const program::MatchTuple& s) {
    const auto shape = s.set.shape;
    need_family(s.set.family);
    std::uint32_t word = 0;
    if (has_class_key(shape)) {
      meta_load(NFT_META_PRIORITY, word);
      if (has_key_end(shape)) swap(word, 4, 4);
      ++word;
    }
    word += address(s.local, s.set.family, word);
    if (has_protocol(shape)) {
      meta_load(NFT_META_L4PROTO, word);
      // Moves nothing in one byte, but nft expects it.
      if (has_key_end(shape)) swap(word, 2, 1);
      ++word;
    }
    if (has_port(shape)) payload(NFT_PAYLOAD_TRANSPORT_HEADER, s.port_side == Side::source ? 0 : 2, 2, word);
    lookup(s.set, false, false);
  }

  void meta_load(std::uint32_t key, std::uint32_t word) {
    nftnl_expr* e = add("meta");
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg(word));
  }
  void meta_set_priority() {
    nftnl_expr* e = add("meta");
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_PRIORITY);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, reg(0));
  }
  void ct_load(std::uint32_t key) {
    nftnl_expr* e = add("ct");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg(0));
  }
  void payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size, std::uint32_t word) {
    nftnl_expr* e = add("payload");
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, size);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg(word));
  }
  void swap(std::uint32_t word, std::uint32_t size, std::uint32_t length) {
    nftnl_expr* e = add("byteorder");
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SREG, reg(word));
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_DREG, reg(word));
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_LEN, length);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SIZE, size);
  }
  void mask(const void* bits, std::uint32_t size) {
    const std::array<std::uint8_t, 16> zero{};
    nftnl_expr* e = add("bitwise");
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, reg(0));
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, reg(0));
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, size);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, bits, size);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero.data(), size);
  }
  void cmp(std::uint32_t op, std::uint8_t value) { cmp(op, &value, sizeof(value)); }
  void cmp(std::uint32_t op, const void* data, std::uint32_t size) {
    nftnl_expr* e = add("cmp");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, reg(0));
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, size);
  }
  void cmp_not_zero(std::uint32_t size) {
    const std::array<std::uint8_t, 16> zero{};
    cmp(NFT_CMP_NEQ, zero.data(), size);
  }
  void lookup(program::SetId set, bool negated, bool to_register) {
    nftnl_expr* e = add("lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, reg(0));
    if (to_register) nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, reg(0));
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, std::string(name_of(set)).c_str());
    // The kernel tells the flags always.
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, negated ? NFT_LOOKUP_F_INV : 0);
  }
  void immediate(const void* data, std::uint32_t size) {
    nftnl_expr* e = add("immediate");
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg(0));
    nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, data, size);
  }
  void verdict(int code, const char* chain = nullptr) {
    nftnl_expr* e = add("immediate");
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, static_cast<std::uint32_t>(code));
    if (chain != nullptr) nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
  }
  static void fill_limit(nftnl_expr* e, std::uint32_t rate, std::uint32_t burst) {
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, rate);
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1);  // second
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, burst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, NFT_LIMIT_F_INV);
  }

  nftnl_rule* rule_;
  std::optional<Family> family_;
};

/// Every expression of a rule.
template <class F>
void for_each_expression(const nftnl_rule* rule, F each) {
  nftnl_expr_iter* walk = nftnl_expr_iter_create(rule);
  if (walk == nullptr) return;
  while (nftnl_expr* e = nftnl_expr_iter_next(walk)) each(e);
  nftnl_expr_iter_destroy(walk);
}

std::string_view name_of(const nftnl_expr* e) {
  const char* name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
  return name == nullptr ? "" : name;
}

std::uint32_t rate_of(const nftnl_expr* limit) {
  return static_cast<std::uint32_t>(nftnl_expr_get_u64(limit, NFTNL_EXPR_LIMIT_RATE));
}

std::optional<std::uint8_t> bit_of(const void* data, std::uint32_t size) {
  if (data == nullptr || size != sizeof(LabelBits)) return std::nullopt;
  for (unsigned bit = 0; bit < 128; ++bit) {
    const auto candidate = label_bits(static_cast<std::uint8_t>(bit));
    if (std::memcmp(data, candidate.data(), size) == 0) return static_cast<std::uint8_t>(bit);
  }
  return std::nullopt;
}

}  // namespace

void RuleFree::operator()(nftnl_rule* rule) const {
  nftnl_rule_free(rule);
}

RulePtr make_rule(const std::string& chain, const program::Rule& statements) {
  RulePtr rule(nftnl_rule_alloc());
  if (!rule) return rule;
  nftnl_rule_set_u32(rule.get(), NFTNL_RULE_FAMILY, NFPROTO_INET);
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, std::string(program::table_name).c_str());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, chain.c_str());
  Encoder encoder(rule.get());
  for (const Statement& statement : statements) std::visit(encoder, statement);
  return rule;
}

std::string bytecode_of(const nftnl_rule* rule) {
  // The kernel tells a timeout of each dynset, and refuses one of 0 from us.
  constexpr std::string_view no_timeout = "timeout 0ms ";
  std::string text;
  std::array<char, 1024> buffer{};
  for_each_expression(rule, [&](const nftnl_expr* e) {
    buffer[0] = '\0';
    nftnl_expr_snprintf(buffer.data(), buffer.size(), e, NFTNL_OUTPUT_DEFAULT, 0);
    std::string words(buffer.data());
    if (const auto at = words.find(no_timeout); at != std::string::npos) words.erase(at, no_timeout.size());
    text.append("[").append(name_of(e)).append(" ").append(words).append("]\n");
  });
  return text;
}

void find_options(const nftnl_rule* rule, program::Options& options) {
  for_each_expression(rule, [&](const nftnl_expr* e) {
    const auto name = name_of(e);
    if (name == "log") {
      options.log_group = nftnl_expr_get_u16(e, NFTNL_EXPR_LOG_GROUP);
    } else if (name == "limit") {
      options.log_node_rate = rate_of(e);
    } else if (name == "dynset") {
      std::uint32_t size = 0;
      const void* inner = nftnl_expr_get(e, NFTNL_EXPR_DYNSET_EXPR, &size);
      const auto* expression = static_cast<const nftnl_expr*>(inner);
      if (inner != nullptr && name_of(expression) == "limit") options.log_source_rate = rate_of(expression);
    } else if (name == "immediate" && nftnl_expr_is_set(e, NFTNL_EXPR_IMM_DATA)) {
      std::uint32_t size = 0;
      const void* data = nftnl_expr_get(e, NFTNL_EXPR_IMM_DATA, &size);
      options.label_bit = bit_of(data, size).value_or(options.label_bit);
    }
  });
}

}  // namespace podfence::netlink
