// Defaulting and isolation of NetworkPolicy.
#include "tests/policy/api/describe.h"

namespace podfence::api {
namespace {

struct Case {
  std::string name;
  std::string spec;
  std::string policy;
  Paths errors = {};
  Paths warnings = {};
};

void check(const std::vector<Case>& cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name + "\n  " + c.spec);
    const Decoded result = decoded_policy(c.spec);
    EXPECT_EQ(describe(only<NetworkPolicy>(result)), c.policy);
    EXPECT_EQ(paths_of(result, Severity::error), c.errors);
    EXPECT_EQ(paths_of(result, Severity::warning), c.warnings);
  }
}

TEST(DecodePolicy, subject) {
  check({
      {"I-06 missing", "{}", "<everything>; in: closed; out: open"},
      {"I-06 null", "{podSelector: null}", "<everything>; in: closed; out: open"},
      {"I-06 empty", "{podSelector: {}}", "<everything>; in: closed; out: open"},
      {"I-06 labels", "{podSelector: {matchLabels: {app: web}}}", "app=web; in: closed; out: open"},
      {"spec null", "null", "<everything>; in: closed; out: open"},
  });
}

TEST(DecodePolicy, types) {
  const std::string in = "ingress: [{}]";
  const std::string out = "egress: [{}]";
  check({
      {"I-11 missing, no rules", "{}", "<everything>; in: closed; out: open"},
      {"I-11 missing, ingress", "{" + in + "}", "<everything>; in: any on any; out: open"},
      {"I-11 missing, egress", "{" + out + "}", "<everything>; in: closed; out: any on any"},
      {"I-11 missing, both", "{" + in + "," + out + "}", "<everything>; in: any on any; out: any on any"},
      {"I-11 null", "{policyTypes: null, " + out + "}", "<everything>; in: closed; out: any on any"},
      {"I-11 []", "{policyTypes: [], " + out + "}", "<everything>; in: closed; out: any on any"},
      {"I-12 egress []", "{egress: []}", "<everything>; in: closed; out: open"},
      {"I-12 egress null", "{egress: null}", "<everything>; in: closed; out: open"},
      {"I-13 [Egress] with ingress", "{policyTypes: [Egress], " + in + "}", "<everything>; in: open; out: closed"},
      {"I-13 [Ingress] with egress", "{policyTypes: [Ingress], " + out + "}", "<everything>; in: closed; out: open"},
      {"I-14 both, only ingress rules", "{policyTypes: [Ingress, Egress], " + in + "}",
       "<everything>; in: any on any; out: closed"},
      {"I-10 [Egress], egress []", "{policyTypes: [Egress], egress: []}", "<everything>; in: open; out: closed"},
      {"I-10 [Egress], egress [{}]", "{policyTypes: [Egress], " + out + "}", "<everything>; in: open; out: any on any"},
      {"twice the same", "{policyTypes: [Egress, Egress]}", "<everything>; in: open; out: closed"},
  });
}

TEST(DecodePolicy, rules) {
  check({
      {"I-08 missing", "{policyTypes: [Ingress]}", "<everything>; in: closed; out: open"},
      {"I-08 null", "{policyTypes: [Ingress], ingress: null}", "<everything>; in: closed; out: open"},
      {"I-08 []", "{policyTypes: [Ingress], ingress: []}", "<everything>; in: closed; out: open"},
      {"I-09 [{}]", "{ingress: [{}]}", "<everything>; in: any on any; out: open"},
      {"P-01 from null, T-01 ports null", "{ingress: [{from: null, ports: null}]}",
       "<everything>; in: any on any; out: open"},
      {"P-01 from [], T-01 ports []", "{ingress: [{from: [], ports: []}]}", "<everything>; in: any on any; out: open"},
      {"P-01 to []", "{policyTypes: [Egress], egress: [{to: []}]}", "<everything>; in: open; out: any on any"},
      {"P-13 peers and ports", "{ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
       "<everything>; in: pods[<everything>] on TCP:80; out: open"},
      {"P-13 two rules", "{ingress: [{from: [{podSelector: {}}]}, {ports: [{port: 80}]}]}",
       "<everything>; in: pods[<everything>] on any | any on TCP:80; out: open"},
  });
}

// V-09, V-11: what cannot be read isolates.
TEST(DecodePolicy, V_11_an_invalid_spec_closes) {
  check({
      {"V-09 unknown type", "{policyTypes: [Foo]}", "<everything>; in: closed; out: closed", {"spec.policyTypes[0]"}},
      {"V-09 lower case", "{policyTypes: [ingress]}", "<everything>; in: closed; out: closed", {"spec.policyTypes[0]"}},
      {"V-09 unknown beside a known",
       "{policyTypes: [Ingress, Foo]}",
       "<everything>; in: closed; out: closed",
       {"spec.policyTypes[1]"}},
      {"V-09 three",
       "{policyTypes: [Ingress, Egress, Ingress]}",
       "<everything>; in: closed; out: closed",
       {"spec.policyTypes"}},
      {"V-09 three of one",
       "{policyTypes: [Ingress, Ingress, Ingress]}",
       "<everything>; in: closed; out: open",
       {"spec.policyTypes"}},
      {"type is a number", "{policyTypes: [1]}", "<everything>; in: closed; out: closed", {"spec.policyTypes[0]"}},
      {"type is null", "{policyTypes: [null]}", "<everything>; in: closed; out: closed", {"spec.policyTypes[0]"}},
      {"types is a string", "{policyTypes: Ingress}", "<everything>; in: closed; out: closed", {"spec.policyTypes"}},
      {"types is a map", "{policyTypes: {}}", "<everything>; in: closed; out: closed", {"spec.policyTypes"}},
      {"spec is a list", "[]", "<everything>; in: closed; out: closed", {"spec"}},
      {"spec is a string", "x", "<everything>; in: closed; out: closed", {"spec"}},
      {"ingress is a map", "{ingress: {}}", "<everything>; in: closed; out: open", {"spec.ingress"}},
      {"egress is a map", "{egress: {}}", "<everything>; in: closed; out: closed", {"spec.egress"}},
      {"egress is a string", "{egress: all}", "<everything>; in: closed; out: closed", {"spec.egress"}},
      {"invalid rule of a type not asked for",
       "{policyTypes: [Egress], ingress: [{ports: [{port: 0}]}]}",
       "<everything>; in: open; out: closed",
       {"spec.ingress[0].ports[0].port"}},
  });
}

TEST(DecodePolicy, L_12_a_subject_that_cannot_be_read_is_the_whole_namespace) {
  const std::string all = "<everything>; in: closed; out: open";
  check({
      {"a list", "{podSelector: []}", all, {"spec.podSelector", "spec.podSelector"}},
      {"a string", "{podSelector: app=web}", all, {"spec.podSelector", "spec.podSelector"}},
      {"V-10 bad key",
       "{podSelector: {matchLabels: {a b: c}}}",
       all,
       {"spec.podSelector.matchLabels[\"a b\"]", "spec.podSelector"}},
      {"V-10 bad value",
       "{podSelector: {matchLabels: {a: -b}}}",
       all,
       {"spec.podSelector.matchLabels.a", "spec.podSelector"}},
      {"value is a number",
       "{podSelector: {matchLabels: {a: 1}}}",
       all,
       {"spec.podSelector.matchLabels.a", "spec.podSelector"}},
      {"misspelt matchLabels", "{podSelector: {matchLabel: {a: b}}}", all, {"spec.podSelector", "spec.podSelector"}},
      {"V-10 In without values",
       "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
       all,
       {"spec.podSelector.matchExpressions[0].values", "spec.podSelector"}},
      {"V-10 Exists with values",
       "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
       all,
       {"spec.podSelector.matchExpressions[0].values", "spec.podSelector"}},
      {"one good and one bad part",
       "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Gt, values: ['1']}]}}",
       all,
       {"spec.podSelector.matchExpressions[0].operator", "spec.podSelector"}},
  });
}

// V-12
TEST(DecodePolicy, V_12_unknown_fields_of_the_spec_are_ignored_with_a_warning) {
  check({
      {"in the spec", "{podSelector: {}, foo: 1}", "<everything>; in: closed; out: open", {}, {"spec.foo"}},
      {"in a rule",
       "{ingress: [{from: [{podSelector: {}}], foo: 1}]}",
       "<everything>; in: pods[<everything>] on any; out: open",
       {},
       {"spec.ingress[0].foo"}},
      {"in a port",
       "{ingress: [{ports: [{port: 80, foo: 1}]}]}",
       "<everything>; in: any on TCP:80; out: open",
       {},
       {"spec.ingress[0].ports[0].foo"}},
      {"in a peer",
       "{ingress: [{from: [{podSelector: {}, foo: 1}]}]}",
       "<everything>; in: pods[<everything>] on any; out: open",
       {},
       {"spec.ingress[0].from[0].foo"}},
  });
}

TEST(DecodePolicy, V_11_a_rule_that_cannot_be_read_admits_nobody) {
  check({
      {"null", "{ingress: [null]}", "<everything>; in: nothing on any; out: open", {"spec.ingress[0]"}},
      {"a string", "{ingress: [all]}", "<everything>; in: nothing on any; out: open", {"spec.ingress[0]"}},
      {"a list", "{ingress: [[]]}", "<everything>; in: nothing on any; out: open", {"spec.ingress[0]"}},
      {"beside a good one",
       "{ingress: [null, {}]}",
       "<everything>; in: nothing on any | any on any; out: open",
       {"spec.ingress[0]"}},
      {"to in ingress",
       "{ingress: [{to: [{podSelector: {}}]}]}",
       "<everything>; in: nothing on any; out: open",
       {"spec.ingress[0]"}},
      {"from in egress",
       "{egress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
       "<everything>; in: closed; out: nothing on any",
       {"spec.egress[0]"}},
      {"only a misspelt field",
       "{ingress: [{form: [{podSelector: {}}]}]}",
       "<everything>; in: nothing on any; out: open",
       {"spec.ingress[0]"}},
      {"from is a map",
       "{ingress: [{from: {podSelector: {}}}]}",
       "<everything>; in: nothing on any; out: open",
       {"spec.ingress[0].from"}},
      {"from is a string",
       "{ingress: [{from: any}]}",
       "<everything>; in: nothing on any; out: open",
       {"spec.ingress[0].from"}},
      {"to is a number", "{egress: [{to: 1}]}", "<everything>; in: closed; out: nothing on any", {"spec.egress[0].to"}},
      {"ports is a map",
       "{ingress: [{ports: {port: 80}}]}",
       "<everything>; in: any on nothing; out: open",
       {"spec.ingress[0].ports"}},
      {"ports is a number",
       "{ingress: [{ports: 80}]}",
       "<everything>; in: any on nothing; out: open",
       {"spec.ingress[0].ports"}},
      {"from and ports",
       "{ingress: [{from: x, ports: y}]}",
       "<everything>; in: nothing on nothing; out: open",
       {"spec.ingress[0].from", "spec.ingress[0].ports"}},
  });
}

}  // namespace
}  // namespace podfence::api
