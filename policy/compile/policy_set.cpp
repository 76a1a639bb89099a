#include "policy/compile/policy_set.h"

namespace podfence::compile {
namespace {

// FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/).
constexpr std::uint64_t fnv_offset = 0xcbf29ce484222325;
constexpr std::uint64_t fnv_prime = 0x100000001b3;

}  // namespace

void PolicySetNumber::add(const store::NamespacedName& policy) {
  if (hash_ == 0) hash_ = fnv_offset;
  const auto mix = [this](unsigned char byte) { hash_ = (hash_ ^ byte) * fnv_prime; };
  for (const auto& part : {std::string_view(policy.first), std::string_view(policy.second)}) {
    for (const char c : part) mix(static_cast<unsigned char>(c));
    mix(0);  // no name holds it
  }
}

program::ClassId PolicySetNumber::finish() const {
  if (hash_ == 0) return program::no_class;
  constexpr std::uint64_t numbers = (std::uint64_t{1} << 32U) - program::first_class;
  return program::first_class + static_cast<program::ClassId>((hash_ ^ (hash_ >> 32U)) % numbers);
}

program::ClassId number_of(const PolicySet& policies) {
  PolicySetNumber number;
  for (const auto& policy : policies) number.add(policy);
  return number.finish();
}

}  // namespace podfence::compile
