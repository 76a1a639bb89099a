#include "policy/compile/subject.h"

#include <algorithm>
#include <tuple>

namespace podfence::compile {
namespace {

using program::Shape;

std::size_t index_of(net::Family family) {
  return family == net::Family::ipv4 ? 0 : 1;
}

bool has_family(const Addresses& addresses, net::Family family) {
  return std::any_of(addresses.begin(), addresses.end(), [&](const net::IpAddr& ip) { return ip.family() == family; });
}

bool is_in(const Addresses& addresses, const net::IpAddr& ip) {
  return std::find(addresses.begin(), addresses.end(), ip) != addresses.end();
}

/// Writes the difference of two port sets at one address.
class Writer {
 public:
  Writer(const Subject::Context& context, ChangeSink& sink) : context_(context), sink_(sink) {}

  void change(const net::IpAddr& ip, SlotId slot, PortSetRef from, PortSetRef to) {
    if (from == to) return;
    if (from != nullptr) {
      list(ip, slot, *from);
      for (const Placed& p : placed_) sink_.remove(p.set, p.element);
    }
    if (to != nullptr) {
      list(ip, slot, *to);
      for (const Placed& p : placed_) sink_.add(p.set, p.element);
    }
  }

  /// The number of the policies that isolate the address; no_class: none does.
  void change_policies(const net::IpAddr& ip, program::ClassId from, program::ClassId to) {
    if (from == to) return;
    const program::SetId isolated{Shape::isolated, context_.direction, ip.family()};
    const program::SetId policies{Shape::policies, context_.direction, ip.family()};
    if (from == program::no_class) sink_.add(isolated, address_element(ip));
    if (to == program::no_class) sink_.remove(isolated, address_element(ip));
    if (from != program::no_class) sink_.remove(policies, peer_element(ip, from));
    if (to != program::no_class) sink_.add(policies, peer_element(ip, to));
  }

  /// Both sorted by class.
  template <class Tuples>
  void change_all(const net::IpAddr& ip, const Tuples& from, const Tuples& to) {
    auto a = from.begin();
    auto b = to.begin();
    while (a != from.end() || b != to.end()) {
      if (b == to.end() || (a != from.end() && a->first < b->first)) {
        change(ip, a->first, a->second, nullptr);
        ++a;
      } else if (a == from.end() || b->first < a->first) {
        change(ip, b->first, nullptr, b->second);
        ++b;
      } else {
        change(ip, a->first, a->second, b->second);
        ++a;
        ++b;
      }
    }
  }

 private:
  void list(const net::IpAddr& ip, SlotId slot, const model::PortSet& ports) {
    placed_.clear();
    append_elements(placed_, context_.direction, ip, context_.classes.at(slot).number, ports, context_.split_ports);
  }

  const Subject::Context& context_;
  ChangeSink& sink_;
  std::vector<Placed> placed_;
};

}  // namespace

void Subject::release(const Terms& terms, PortPool& pool) {
  pool.release(terms.all);
  for (const Entry& entry : terms.entries) pool.release(entry.ports);
}

Subject::Terms Subject::terms_of(const Context& context, const api::Pod& pod,
                                 const std::vector<const RelevantPolicy*>& policies) {
  Terms terms;
  model::PortSetBuilder all;
  PolicySetNumber number;
  const std::size_t direction = compile::index_of(context.direction);
  for (const RelevantPolicy* policy : policies) {
    if (policy->isolates[direction]) number.add(policy->name);
    for (const HeldGrant& grant : policy->grants[direction]) {
      model::PortSetBuilder ports;
      ports.add(grant.ports);
      for (const model::NamedPort& name : grant.local_names) {
        if (const auto port = pod.named_port(name.name, name.protocol)) ports.add(name.protocol, {*port, *port});
      }
      model::PortSet set = ports.finish();
      if (!grant.peer) {
        all.add(set);
      } else if (!set.empty() || grant.peer_port) {
        terms.entries.push_back({*grant.peer, context.pool.acquire(std::move(set)), grant.peer_port});
      }
    }
  }
  terms.policies = number.finish();
  terms.all = context.pool.acquire(all.finish());
  std::sort(terms.entries.begin(), terms.entries.end(), [](const Entry& a, const Entry& b) {
    return a.peer != b.peer ? a.peer < b.peer : std::less<>{}(a.ports, b.ports);
  });
  return terms;
}

bool Subject::bind(const Context& context, const api::Pod* pod, const std::vector<const RelevantPolicy*>& policies) {
  Terms next = pod != nullptr ? terms_of(context, *pod, policies) : Terms{};
  std::swap(terms_, next);
  const bool changed = terms_ != next;
  release(next, context.pool);
  return changed;
}

/// What the pod admits to addresses of that class.
PortSetRef Subject::admitted(const Context& context, SlotId slot) const {
  model::PortSetBuilder ports;
  bool any = false;
  auto entry = terms_.entries.begin();
  for (const Match match : context.classes.at(slot).signature) {
    entry = std::lower_bound(entry, terms_.entries.end(), spec_of(match),
                             [](const Entry& e, SpecId id) { return e.peer < id; });
    for (; entry != terms_.entries.end() && entry->peer == spec_of(match); ++entry) {
      any = true;
      if (entry->ports != nullptr) ports.add(*entry->ports);
      if (entry->peer_port) ports.add(*entry->peer_port, {port_of(match), port_of(match)});
    }
    if (entry == terms_.entries.end()) break;
  }
  return any ? context.pool.acquire(ports.finish()) : nullptr;
}

Subject::Tuples Subject::tuples_for(const Context& context, net::Family family) const {
  Tuples tuples;
  if (terms_.entries.empty()) return tuples;
  for (SlotId slot = 1; slot < context.classes.end(); ++slot) {
    if (context.classes.at(slot).members.of(family) == 0) continue;
    if (const PortSetRef ports = admitted(context, slot)) tuples.emplace_back(slot, ports);
  }
  return tuples;
}

void Subject::rebuild(const Context& context, const Addresses& before, const Addresses& now, ChangeSink& sink) {
  static const Tuples no_tuples;
  Writer writer(context, sink);
  const program::ClassId policies = now.empty() ? program::no_class : terms_.policies;
  for (const net::Family family : net::families) {
    Tuples next = has_family(now, family) ? tuples_for(context, family) : Tuples{};
    Tuples& tuples = tuples_[index_of(family)];
    for (const net::IpAddr& ip : before) {
      if (ip.family() != family || is_in(now, ip)) continue;
      writer.change_policies(ip, policies_, program::no_class);
      writer.change(ip, 0, all_, nullptr);
      writer.change_all(ip, tuples, no_tuples);
    }
    for (const net::IpAddr& ip : now) {
      if (ip.family() != family) continue;
      const bool stays = is_in(before, ip);
      writer.change_policies(ip, stays ? policies_ : program::no_class, policies);
      writer.change(ip, 0, stays ? all_ : nullptr, terms_.all);
      writer.change_all(ip, stays ? tuples : no_tuples, next);
    }
    for (const Tuple& tuple : tuples) context.pool.release(tuple.second);
    tuples = std::move(next);
  }
  policies_ = policies;
  const PortSetRef all = terms_.all != nullptr ? context.pool.acquire(*terms_.all) : nullptr;
  context.pool.release(all_);
  all_ = all;
}

void Subject::update(const Context& context, const Addresses& addresses, const std::vector<SlotId>& changed,
                     ChangeSink& sink) {
  if (terms_.entries.empty()) return;
  Writer writer(context, sink);
  for (const net::Family family : net::families) {
    if (!has_family(addresses, family)) continue;
    Tuples& tuples = tuples_[index_of(family)];
    for (const SlotId slot : changed) {
      const bool present = context.classes.at(slot).members.of(family) > 0;
      const PortSetRef next = present ? admitted(context, slot) : nullptr;
      const auto place = std::lower_bound(tuples.begin(), tuples.end(), slot,
                                          [](const Tuple& tuple, SlotId id) { return tuple.first < id; });
      const bool found = place != tuples.end() && place->first == slot;
      const PortSetRef old = found ? place->second : nullptr;
      for (const net::IpAddr& ip : addresses) {
        if (ip.family() == family) writer.change(ip, slot, old, next);
      }
      if (found && next != nullptr) {
        place->second = next;
      } else if (found) {
        tuples.erase(place);
      } else if (next != nullptr) {
        tuples.insert(place, {slot, next});
      }
      context.pool.release(old);
    }
  }
}

void Subject::append_to(program::Program& program, const Context& context, const Addresses& addresses) const {
  std::vector<Placed> placed;
  for (const net::IpAddr& ip : addresses) {
    if (policies_ != program::no_class) {
      placed.push_back({{Shape::isolated, context.direction, ip.family()}, address_element(ip)});
      placed.push_back({{Shape::policies, context.direction, ip.family()}, peer_element(ip, policies_)});
    }
    if (all_ != nullptr) append_elements(placed, context.direction, ip, program::no_class, *all_, context.split_ports);
    for (const Tuple& tuple : tuples_[index_of(ip.family())]) {
      const program::ClassId number = context.classes.at(tuple.first).number;
      append_elements(placed, context.direction, ip, number, *tuple.second, context.split_ports);
    }
  }
  for (const Placed& p : placed) program.at(p.set).push_back(p.element);
}

}  // namespace podfence::compile
