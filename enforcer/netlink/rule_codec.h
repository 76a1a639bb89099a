#pragma once
// The constant rules as the kernel's expressions: the third visitor of the statements of policy/program/rule.h. The
// expressions are those that nft writes for the same text, so that nft prints them as that text.
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/program/rule.h"

struct nftnl_rule;

namespace podfence::netlink {

struct RuleFree {
  void operator()(nftnl_rule* rule) const;
};
using RulePtr = std::unique_ptr<nftnl_rule, RuleFree>;

/// Null only when memory is short.
RulePtr make_rule(const std::string& chain, const program::Rule& rule);

/// The expressions in words; equal for a rule that was built and the same rule read back from the kernel.
std::string bytecode_of(const nftnl_rule* rule);

/// What the rules of a chain say about the options they were made for: fills in what it finds.
void find_options(const nftnl_rule* rule, program::Options& options);

}  // namespace podfence::netlink
