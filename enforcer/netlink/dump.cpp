#include "enforcer/netlink/dump.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <arpa/inet.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <thread>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/element.h"
#include "enforcer/netlink/objects.h"
#include "enforcer/netlink/rule_codec.h"

namespace podfence::netlink {
namespace {

constexpr int dump_attempts = 20;

/// A small request about our table. `name` goes into the attribute of that number, if any.
class Request {
 public:
  Request(int type, std::uint16_t table_attribute) {
    nlmsghdr* header = mnl_nlmsg_put_header(buffer_.data());
    header->nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | type);
    auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
    extra->nfgen_family = NFPROTO_INET;
    extra->version = NFNETLINK_V0;
    if (table_attribute != 0) put(table_attribute, program::table_name);
  }
  void put(std::uint16_t attribute, std::string_view text) {
    mnl_attr_put_strz(message(), attribute, std::string(text).c_str());
  }
  nlmsghdr* message() { return static_cast<nlmsghdr*>(static_cast<void*>(buffer_.data())); }

 private:
  alignas(nlmsghdr) std::array<std::byte, 512> buffer_{};
};

/// Dumps into a fresh T, again and again while other commits interrupt it.
template <class T, class F>
Result<T> collect(Socket& socket, Request request, const char* what, F each) {
  for (int attempt = 1;; ++attempt) {
    T collected{};
    const auto dumped = socket.dump(request.message(), [&](const nlmsghdr* message) { each(collected, message); });
    if (dumped) return collected;
    if (dumped.error().code() != Errc::busy || attempt == dump_attempts) return fail(Error(dumped.error()).in(what));
    std::this_thread::sleep_for(std::chrono::milliseconds(attempt));
  }
}

void read_set_description(const Attribute& description, SetSpec& spec) {
  for_each_attribute(description.value, [&](const Attribute& a) {
    if (a.type == NFTA_SET_DESC_SIZE) spec.size = a.be32().value_or(0);
    if (a.type != NFTA_SET_DESC_CONCAT) return;
    for_each_attribute(a.value, [&](const Attribute& field) {
      for_each_attribute(field.value, [&](const Attribute& length) {
        if (length.type == NFTA_SET_FIELD_LEN) spec.field_sizes.push_back(length.be32().value_or(0));
      });
    });
  });
}

SetSpec read_set(const nlmsghdr* message) {
  SetSpec spec;
  for_each_attribute(attributes_of(message, sizeof(nfgenmsg)), [&](const Attribute& a) {
    if (a.type == NFTA_SET_NAME) spec.name = a.text();
    if (a.type == NFTA_SET_FLAGS) spec.flags = a.be32().value_or(0);
    if (a.type == NFTA_SET_KEY_TYPE) spec.key_type = a.be32().value_or(0);
    if (a.type == NFTA_SET_KEY_LEN) spec.key_size = a.be32().value_or(0);
    if (a.type == NFTA_SET_DATA_TYPE) spec.data_type = a.be32().value_or(0);
    if (a.type == NFTA_SET_DATA_LEN) spec.data_size = a.be32().value_or(0);
    if (a.type == NFTA_SET_DESC) read_set_description(a, spec);
  });
  return spec;
}

using Sets = std::map<std::string, SetSpec>;

Result<Sets> dump_sets(Socket& socket) {
  return collect<Sets>(socket, Request(NFT_MSG_GETSET, NFTA_SET_TABLE), "sets", [](Sets& sets, const nlmsghdr* m) {
    SetSpec spec = read_set(m);
    sets.emplace(spec.name, std::move(spec));
  });
}

/// What is wrong with the sets, or nothing.
std::string damage_of_sets(const Sets& found) {
  const auto wanted = all_sets();
  for (const SetSpec& spec : wanted) {
    const auto it = found.find(spec.name);
    if (it == found.end()) return "set " + spec.name + " is missing";
    if (it->second != spec) return "set " + spec.name + " is of another type";
  }
  if (found.size() == wanted.size()) return {};
  const auto foreign = std::find_if(found.begin(), found.end(), [&](const auto& entry) {
    return std::none_of(wanted.begin(), wanted.end(), [&](const SetSpec& spec) { return spec.name == entry.first; });
  });
  return "set " + foreign->first + " is not ours";
}

struct ChainState {
  bool base = false;
  bool as_wanted_base = false;  // type, hook, priority, policy
  std::vector<RulePtr> rules;
};
using Chains = std::map<std::string, ChainState>;

void read_chain(Chains& chains, const nlmsghdr* message) {
  const std::unique_ptr<nftnl_chain, decltype(&nftnl_chain_free)> chain(nftnl_chain_alloc(), nftnl_chain_free);
  if (nftnl_chain_nlmsg_parse(message, chain.get()) < 0) return;
  const char* table = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TABLE);
  const char* name = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_NAME);
  if (table == nullptr || name == nullptr || program::table_name != table) return;
  ChainState state;
  state.base = nftnl_chain_is_set(chain.get(), NFTNL_CHAIN_HOOKNUM);
  const char* type = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TYPE);
  state.as_wanted_base = state.base && type != nullptr && std::string_view(type) == "filter" &&
                         nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_HOOKNUM) == NF_INET_FORWARD &&
                         nftnl_chain_get_s32(chain.get(), NFTNL_CHAIN_PRIO) == 0 &&
                         nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_POLICY) == NF_ACCEPT;
  chains.emplace(name, std::move(state));
}

Result<Chains> dump_chains(Socket& socket) {
  auto chains = collect<Chains>(socket, Request(NFT_MSG_GETCHAIN, 0), "chains",
                                [](Chains& into, const nlmsghdr* message) { read_chain(into, message); });
  if (!chains) return chains;
  auto rules = collect<std::vector<RulePtr>>(socket, Request(NFT_MSG_GETRULE, NFTA_RULE_TABLE), "rules",
                                             [](std::vector<RulePtr>& into, const nlmsghdr* message) {
                                               RulePtr rule(nftnl_rule_alloc());
                                               if (rule && nftnl_rule_nlmsg_parse(message, rule.get()) >= 0)
                                                 into.push_back(std::move(rule));
                                             });
  if (!rules) return fail(rules.error());
  for (RulePtr& rule : *rules) {
    const char* chain = nftnl_rule_get_str(rule.get(), NFTNL_RULE_CHAIN);
    if (chain != nullptr) (*chains)[chain].rules.push_back(std::move(rule));
  }
  return chains;
}

std::string damage_of_chains(const Chains& found, const program::Options& options) {
  const auto wanted = program::chains(options);
  for (const auto& chain : wanted) {
    const auto it = found.find(chain.name);
    if (it == found.end()) return "chain " + chain.name + " is missing";
    if (it->second.base != chain.base || it->second.as_wanted_base != chain.base) {
      return "chain " + chain.name + " has another hook";
    }
    if (it->second.rules.size() != chain.rules.size()) {
      return "chain " + chain.name + " has " + std::to_string(it->second.rules.size()) + " rules, not " +
             std::to_string(chain.rules.size());
    }
    for (std::size_t i = 0; i < chain.rules.size(); ++i) {
      const RulePtr made = make_rule(chain.name, chain.rules[i]);
      if (!made || bytecode_of(made.get()) != bytecode_of(it->second.rules[i].get())) {
        return "chain " + chain.name + ": rule " + std::to_string(i + 1) + " is another one";
      }
    }
  }
  if (found.size() == wanted.size()) return {};
  const auto foreign = std::find_if(found.begin(), found.end(), [&](const auto& entry) {
    return std::none_of(wanted.begin(), wanted.end(), [&](const auto& chain) { return chain.name == entry.first; });
  });
  return "chain " + foreign->first + " is not ours";
}

/// Named objects of every type: NFT_OBJECT_*.
Result<std::map<std::string, std::uint32_t>> dump_objects(Socket& socket) {
  using Objects = std::map<std::string, std::uint32_t>;
  return collect<Objects>(socket, Request(NFT_MSG_GETOBJ, NFTA_OBJ_TABLE), "objects", [](Objects& into, const auto* m) {
    std::string name;
    std::uint32_t type = 0;
    for_each_attribute(attributes_of(m, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_OBJ_NAME) name = a.text();
      if (a.type == NFTA_OBJ_TYPE) type = a.be32().value_or(0);
    });
    into.emplace(std::move(name), type);
  });
}

struct ReadSet {
  std::optional<ElementReader> reader;
  bool foreign = false;
};

void read_elements(ReadSet& read, program::SetId set, const nlmsghdr* message) {
  if (!read.reader) read.reader.emplace(set);
  const bool whole = for_each_attribute(attributes_of(message, sizeof(nfgenmsg)), [&](const Attribute& list) {
    if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
    const bool fits = for_each_attribute(list.value, [&](const Attribute& element) {
      if (!read.reader->feed(element.value)) read.foreign = true;
    });
    read.foreign = read.foreign || !fits;
  });
  read.foreign = read.foreign || !whole;
}

/// The elements of a set; `damage` when some are none of ours.
Result<std::vector<program::Element>> dump_elements(Socket& socket, program::SetId set, std::string& damage) {
  Request request(NFT_MSG_GETSETELEM, NFTA_SET_ELEM_LIST_TABLE);
  request.put(NFTA_SET_ELEM_LIST_SET, name_of(set));
  for (int attempt = 1;; ++attempt) {
    auto read = collect<ReadSet>(socket, request, "elements",
                                 [set](ReadSet& into, const nlmsghdr* message) { read_elements(into, set, message); });
    if (!read) return fail(Error(read.error()).in(name_of(set)));
    std::vector<program::Element> elements;
    const auto outcome = read->reader ? read->reader->finish(elements) : ElementReader::Outcome::whole;
    if (outcome == ElementReader::Outcome::unsettled) {
      if (attempt == dump_attempts) return fail(Errc::busy, std::string(name_of(set)) + ": the set does not settle");
      std::this_thread::sleep_for(std::chrono::milliseconds(attempt));
      continue;
    }
    if ((read->foreign || outcome == ElementReader::Outcome::foreign) && damage.empty()) {
      damage = "set " + std::string(name_of(set)) + " has elements that are not ours";
    }
    return elements;
  }
}

/// NFTA_EXPR_DATA of a counter.
CounterValue read_counter(std::span<const std::byte> attributes) {
  CounterValue value;
  for_each_attribute(attributes, [&](const Attribute& a) {
    const auto number = Cursor(a.value).take_be64();
    if (a.type == NFTA_COUNTER_PACKETS) value.packets = number.value_or(0);
    if (a.type == NFTA_COUNTER_BYTES) value.bytes = number.value_or(0);
  });
  return value;
}

/// Nothing for one that has no counter: no packet made it.
std::optional<std::pair<program::ClassId, CounterValue>> read_tally_element(std::span<const std::byte> attributes) {
  std::optional<program::ClassId> number;
  std::optional<CounterValue> value;
  for_each_attribute(attributes, [&](const Attribute& a) {
    for_each_attribute(a.value, [&](const Attribute& inner) {
      if (a.type == NFTA_SET_ELEM_KEY && inner.type == NFTA_DATA_VALUE) {
        number = Cursor(inner.value).take_as<program::ClassId>();
      }
      if (a.type == NFTA_SET_ELEM_EXPR && inner.type == NFTA_EXPR_DATA) value = read_counter(inner.value);
    });
  });
  return number && value ? std::optional(std::pair(*number, *value)) : std::nullopt;
}

}  // namespace

Result<std::optional<TableInfo>> find_table(Socket& socket) {
  Request request(NFT_MSG_GETTABLE, NFTA_TABLE_NAME);
  TableInfo info;
  const auto asked = socket.query(request.message(), [&](const nlmsghdr* message) {
    for_each_attribute(attributes_of(message, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_TABLE_FLAGS) info.flags = a.be32().value_or(0);
      if (a.type == NFTA_TABLE_OWNER) info.owner = a.be32();
    });
  });
  if (asked) return info;
  if (asked.error().code() == Errc::not_found) return std::optional<TableInfo>();
  return fail(Error(asked.error()).in("table " + std::string(program::table_name)));
}

Result<Contents> contents_of(Socket& socket, const TableInfo& table, std::uint32_t wanted_flags) {
  Contents contents;
  const auto chains = dump_chains(socket);
  if (!chains) return fail(chains.error());
  const auto base = chains->find(std::string(program::base_chain_name));
  contents.keeps_hook = table.flags == wanted_flags && base != chains->end() && base->second.as_wanted_base;
  for (const auto& [name, chain] : *chains) {
    if (name != program::base_chain_name) contents.chains.push_back(name);
  }
  const auto sets = dump_sets(socket);
  if (!sets) return fail(sets.error());
  const auto wanted = all_sets();
  for (const auto& [name, spec] : *sets) {
    if ((spec.flags & NFT_SET_ANONYMOUS) != 0) continue;  // they go with their rules
    const bool filled_by_packets = (spec.flags & NFT_SET_EVAL) != 0;
    if (filled_by_packets && std::find(wanted.begin(), wanted.end(), spec) != wanted.end()) continue;
    contents.sets.push_back(name);
  }
  const auto objects = dump_objects(socket);
  if (!objects) return fail(objects.error());
  const auto ours = program::counter_names();
  for (const auto& [name, type] : *objects) {
    if (type != NFT_OBJECT_COUNTER) contents.keeps_hook = false;
    if (std::find(ours.begin(), ours.end(), name) == ours.end()) contents.counters.push_back(name);
  }
  return contents;
}

Result<Dump> dump_table(Socket& socket) {
  Dump dump;
  const auto table = find_table(socket);
  if (!table) return fail(table.error());
  if (!*table) return dump;
  dump.present = true;
  if (((*table)->flags & NFT_TABLE_F_DORMANT) != 0) dump.damage = "the table is dormant";

  const auto sets = dump_sets(socket);
  if (!sets) return fail(sets.error());
  if (dump.damage.empty()) dump.damage = damage_of_sets(*sets);
  const auto chains = dump_chains(socket);
  if (!chains) return fail(chains.error());
  for (const auto& [name, chain] : *chains) {
    for (const RulePtr& rule : chain.rules) find_options(rule.get(), dump.program.options);
  }
  if (dump.damage.empty()) dump.damage = damage_of_chains(*chains, dump.program.options);
  const auto counters = dump_counters(socket);
  if (!counters) return fail(counters.error());
  for (const auto& name : program::counter_names()) {
    if (dump.damage.empty() && counters->count(name) == 0) dump.damage = "counter " + name + " is missing";
  }

  for (std::size_t i = 0; i < program::set_count; ++i) {
    const auto set = program::set_at(i);
    const auto found = sets->find(std::string(name_of(set)));
    if (found == sets->end() || found->second != spec_of(set)) continue;
    auto elements = dump_elements(socket, set, dump.damage);
    if (!elements) return fail(elements.error());
    dump.program.sets[i] = std::move(*elements);
  }
  return dump;
}

Result<bool> has_element(Socket& socket, program::SetId set, const program::Element& element) {
  Request request(NFT_MSG_GETSETELEM, NFTA_SET_ELEM_LIST_TABLE);
  request.put(NFTA_SET_ELEM_LIST_SET, name_of(set));
  program::Element key = element;
  // Of a range of addresses just its beginning: the last address of the family has no end mark.
  if (has_end_marks(set.shape)) key.address_last = net::Cidr::around(element.address, 0).range().last;
  nlattr* list = mnl_attr_nest_start(request.message(), NFTA_SET_ELEM_LIST_ELEMENTS);
  put_element(request.message(), set, key, false);
  mnl_attr_nest_end(request.message(), list);
  const auto asked = socket.query(request.message(), [](const nlmsghdr*) {});
  if (asked) return true;
  if (asked.error().code() == Errc::not_found) return false;
  return fail(Error(asked.error()).in(name_of(set)));
}

Result<std::map<program::ClassId, CounterValue>> dump_tally(Socket& socket, net::Direction direction) {
  using Tally = std::map<program::ClassId, CounterValue>;
  Request request(NFT_MSG_GETSETELEM, NFTA_SET_ELEM_LIST_TABLE);
  request.put(NFTA_SET_ELEM_LIST_SET, program::tally_of(direction));
  auto tally = collect<Tally>(socket, request, "policy counters", [](Tally& into, const nlmsghdr* message) {
    for_each_attribute(attributes_of(message, sizeof(nfgenmsg)), [&](const Attribute& list) {
      if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
      for_each_attribute(list.value, [&](const Attribute& element) {
        if (const auto counted = read_tally_element(element.value)) into.insert(*counted);
      });
    });
  });
  if (!tally && tally.error().code() == Errc::not_found) return Tally();
  return tally;
}

Result<std::map<std::string, CounterValue>> dump_counters(Socket& socket, std::string_view table) {
  using Counters = std::map<std::string, CounterValue>;
  Request request(NFT_MSG_GETOBJ, 0);
  request.put(NFTA_OBJ_TABLE, table);
  return collect<Counters>(socket, request, "counters", [](Counters& counters, const nlmsghdr* message) {
    const std::unique_ptr<nftnl_obj, decltype(&nftnl_obj_free)> object(nftnl_obj_alloc(), nftnl_obj_free);
    if (nftnl_obj_nlmsg_parse(message, object.get()) < 0) return;
    if (nftnl_obj_get_u32(object.get(), NFTNL_OBJ_TYPE) != NFT_OBJECT_COUNTER) return;
    const char* name = nftnl_obj_get_str(object.get(), NFTNL_OBJ_NAME);
    if (name == nullptr) return;
    counters[name] = {nftnl_obj_get_u64(object.get(), NFTNL_OBJ_CTR_PKTS),
                      nftnl_obj_get_u64(object.get(), NFTNL_OBJ_CTR_BYTES)};
  });
}

}  // namespace podfence::netlink
