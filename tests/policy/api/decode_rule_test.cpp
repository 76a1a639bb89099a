// Peers and ports of a rule.
#include "tests/policy/api/describe.h"

namespace podfence::api {
namespace {

struct Case {
  std::string name;
  std::string entry;
  std::string described;
  Paths errors = {};  // inside of the entry
  Paths warnings = {};
};

Paths under(const std::string& prefix, Paths paths) {
  for (auto& path : paths) path = path.empty() ? prefix : prefix + (path.front() == '[' ? "" : ".") + path;
  return paths;
}

void check(const std::string& list, const std::vector<Case>& cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name + "\n  " + c.entry);
    const Decoded result = decoded_policy("{ingress: [{" + list + ": [" + c.entry + "]}]}");
    const auto& policy = only<NetworkPolicy>(result);
    ASSERT_EQ(policy.ingress.size(), 1U);
    EXPECT_EQ(describe(policy.ingress[0]), list == "ports" ? "any on " + c.described : c.described + " on any");
    const std::string prefix = "spec.ingress[0]." + list + "[0]";
    EXPECT_EQ(paths_of(result, Severity::error), under(prefix, c.errors));
    EXPECT_EQ(paths_of(result, Severity::warning), under(prefix, c.warnings));
  }
}

TEST(DecodePeer, selectors) {
  check("from",
        {
            {"P-02 podSelector", "{podSelector: {matchLabels: {a: b}}}", "pods[a=b]"},
            {"P-03 empty podSelector", "{podSelector: {}}", "pods[<everything>]"},
            {"P-04 namespaceSelector", "{namespaceSelector: {matchLabels: {a: b}}}", "pods[<everything>]@[a=b]"},
            {"P-05 empty namespaceSelector", "{namespaceSelector: {}}", "pods[<everything>]@[<everything>]"},
            {"P-06 both", "{podSelector: {matchLabels: {a: b}}, namespaceSelector: {matchLabels: {c: d}}}",
             "pods[a=b]@[c=d]"},
            {"P-08 both empty", "{podSelector: {}, namespaceSelector: {}}", "pods[<everything>]@[<everything>]"},
            {"L-08 null namespaceSelector is not given", "{podSelector: {}, namespaceSelector: null}",
             "pods[<everything>]"},
            {"L-08 null podSelector is not given", "{podSelector: null, namespaceSelector: {}}",
             "pods[<everything>]@[<everything>]"},
            {"P-07 two entries", "{podSelector: {}}, {namespaceSelector: {}}",
             "pods[<everything>]+pods[<everything>]@[<everything>]"},
        });
}

TEST(DecodePeer, V_06_V_11_what_cannot_be_read_matches_nothing) {
  check("from",
        {
            {"P-16 V-06 empty", "{}", "nothing", {""}},
            {"P-16 null", "null", "nothing", {""}},
            {"P-16 all fields null", "{podSelector: null, namespaceSelector: null, ipBlock: null}", "nothing", {""}},
            {"P-17 unknown field only", "{serviceSelector: {}}", "nothing", {""}},
            {"a string", "web", "nothing", {""}},
            {"a number", "1", "nothing", {""}},
            {"a list", "[]", "nothing", {""}},
            {"V-07 ipBlock and podSelector", "{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}", "nothing", {"ipBlock"}},
            {"V-07 ipBlock and namespaceSelector",
             "{ipBlock: {cidr: 10.0.0.0/8}, namespaceSelector: {}}",
             "nothing",
             {"ipBlock"}},
            {"podSelector is a string", "{podSelector: app=web}", "pods[<invalid>]", {"podSelector"}},
            {"podSelector is a list", "{podSelector: []}", "pods[<invalid>]", {"podSelector"}},
            {"namespaceSelector is a list",
             "{podSelector: {}, namespaceSelector: []}",
             "pods[<everything>]@[<invalid>]",
             {"namespaceSelector"}},
            {"namespaceSelector is false",
             "{namespaceSelector: false}",
             "pods[<everything>]@[<invalid>]",
             {"namespaceSelector"}},
            {"a good one stays beside a bad one", "{}, {podSelector: {}}", "nothing+pods[<everything>]", {""}},
        });
}

TEST(DecodePeer, V_10_L_12_an_invalid_selector_matches_nothing) {
  const std::string expression = "podSelector.matchExpressions[0]";
  const auto with = [](const std::string& body) { return "{podSelector: {matchExpressions: [" + body + "]}}"; };
  check(
      "from",
      {
          {"misspelt matchLabels", "{podSelector: {matchLabel: {a: b}}}", "pods[<invalid>]", {"podSelector"}},
          {"misspelt beside a good one",
           "{podSelector: {matchLabels: {a: b}, matchExpression: []}}",
           "pods[<invalid>]",
           {"podSelector"}},
          {"matchLabels is a list",
           "{podSelector: {matchLabels: [a]}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels"}},
          {"matchLabels is a string",
           "{podSelector: {matchLabels: a}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels"}},
          {"value is a boolean",
           "{podSelector: {matchLabels: {a: true}}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels.a"}},
          {"value is null",
           "{podSelector: {matchLabels: {a: null}}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels.a"}},
          {"value of 64",
           "{podSelector: {matchLabels: {a: " + std::string(64, 'x') + "}}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels.a"}},
          {"V-13 value of 63", "{podSelector: {matchLabels: {a: " + std::string(63, 'x') + "}}}",
           "pods[a=" + std::string(63, 'x') + "]"},
          {"value ends in a dash",
           "{podSelector: {matchLabels: {a: x-}}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels.a"}},
          {"empty key", "{podSelector: {matchLabels: {'': x}}}", "pods[<invalid>]", {"podSelector.matchLabels[\"\"]"}},
          {"empty prefix",
           "{podSelector: {matchLabels: {/a: x}}}",
           "pods[<invalid>]",
           {"podSelector.matchLabels[\"/a\"]"}},
          {"matchExpressions is a map",
           "{podSelector: {matchExpressions: {}}}",
           "pods[<invalid>]",
           {"podSelector.matchExpressions"}},
          {"expression is null", with("null"), "pods[<invalid>]", {expression}},
          {"expression is a string", with("a"), "pods[<invalid>]", {expression}},
          {"no key", with("{operator: Exists}"), "pods[<invalid>]", {expression + ".key"}},
          {"key is a number", with("{key: 1, operator: Exists}"), "pods[<invalid>]", {expression + ".key"}},
          {"bad key", with("{key: a b, operator: Exists}"), "pods[<invalid>]", {expression + ".key"}},
          {"no operator", with("{key: a}"), "pods[<invalid>]", {expression + ".operator"}},
          {"lower-case operator",
           with("{key: a, operator: in, values: [b]}"),
           "pods[<invalid>]",
           {expression + ".operator"}},
          {"operator is a list",
           with("{key: a, operator: [In], values: [b]}"),
           "pods[<invalid>]",
           {expression + ".operator"}},
          {"In without values", with("{key: a, operator: In}"), "pods[<invalid>]", {expression + ".values"}},
          {"In with []", with("{key: a, operator: In, values: []}"), "pods[<invalid>]", {expression + ".values"}},
          {"NotIn without values", with("{key: a, operator: NotIn}"), "pods[<invalid>]", {expression + ".values"}},
          {"DoesNotExist with values",
           with("{key: a, operator: DoesNotExist, values: [b]}"),
           "pods[<invalid>]",
           {expression + ".values"}},
          {"values is a string",
           with("{key: a, operator: In, values: b}"),
           "pods[<invalid>]",
           {expression + ".values"}},
          {"value is a number in values",
           with("{key: a, operator: In, values: [b, 1]}"),
           "pods[<invalid>]",
           {expression + ".values[1]"}},
          {"bad value in NotIn",
           with("{key: a, operator: NotIn, values: ['b c']}"),
           "pods[<invalid>]",
           {expression + ".values[0]"}},
          {"unknown field", with("{key: a, operator: NotIn, value: [b]}"), "pods[<invalid>]", {expression}},
          {"two findings",
           with("{key: a}, {key: b}"),
           "pods[<invalid>]",
           {expression + ".operator", "podSelector.matchExpressions[1].operator"}},
      });
}

TEST(DecodePeer, ip_blocks) {
  check("from",
        {
            {"IPv4", "{ipBlock: {cidr: 10.0.0.0/8}}", "10.0.0.0/8"},
            {"B-13 IPv6", "{ipBlock: {cidr: '2001:db8::/32', except: ['2001:db8::1/128']}}",
             "2001:db8::/32-2001:db8::1/128"},
            {"B-09 everything", "{ipBlock: {cidr: 0.0.0.0/0}}", "0.0.0.0/0"},
            {"B-10 everything but", "{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}", "0.0.0.0/0-10.0.0.0/8"},
            {"except null", "{ipBlock: {cidr: 10.0.0.0/8, except: null}}", "10.0.0.0/8"},
            {"except []", "{ipBlock: {cidr: 10.0.0.0/8, except: []}}", "10.0.0.0/8"},
            {"B-08 several, nested and twice",
             "{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16, 10.1.0.0/16, 10.1.1.0/24, 10.2.0.0/16]}}",
             "10.0.0.0/8-10.1.0.0/16-10.1.1.0/24-10.2.0.0/16"},
            {"B-11 host bits", "{ipBlock: {cidr: 10.0.0.5/24}}", "10.0.0.0/24", {}, {"ipBlock.cidr"}},
            {"B-11 host bits of an except",
             "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.2.3/16]}}",
             "10.0.0.0/8-10.1.0.0/16",
             {},
             {"ipBlock.except[0]"}},
            {"leading zeros", "{ipBlock: {cidr: 010.001.000.000/16}}", "10.1.0.0/16", {}, {"ipBlock.cidr"}},
            {"6-05 mapped", "{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}", "10.0.0.0/8"},
            {"6-05 other spelling", "{ipBlock: {cidr: '2001:DB8:0::/32'}}", "2001:db8::/32"},
        });
}

TEST(DecodePeer, V_08_an_invalid_block_matches_nothing) {
  check(
      "from",
      {
          {"no cidr", "{ipBlock: {}}", "nothing", {"ipBlock.cidr"}},
          {"no cidr but an except", "{ipBlock: {except: [10.0.0.0/8]}}", "nothing", {"ipBlock.cidr"}},
          {"no block", "{ipBlock: {cidr: all}}", "nothing", {"ipBlock.cidr"}},
          {"no length", "{ipBlock: {cidr: 10.0.0.1}}", "nothing", {"ipBlock.cidr"}},
          {"length 33", "{ipBlock: {cidr: 10.0.0.0/33}}", "nothing", {"ipBlock.cidr"}},
          {"length 129", "{ipBlock: {cidr: '::/129'}}", "nothing", {"ipBlock.cidr"}},
          {"a number", "{ipBlock: {cidr: 10}}", "nothing", {"ipBlock.cidr"}},
          {"a list", "{ipBlock: {cidr: [10.0.0.0/8]}}", "nothing", {"ipBlock.cidr"}},
          {"block is a string", "{ipBlock: 10.0.0.0/8}", "nothing", {"ipBlock"}},
          {"misspelt except", "{ipBlock: {cidr: 10.0.0.0/8, excpet: [10.1.0.0/16]}}", "nothing", {"ipBlock"}},
          {"except outside", "{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}", "nothing", {"ipBlock.except[0]"}},
          {"except equal", "{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}", "nothing", {"ipBlock.except[0]"}},
          {"except wider", "{ipBlock: {cidr: 10.0.0.0/8, except: [0.0.0.0/0]}}", "nothing", {"ipBlock.except[0]"}},
          {"except of the other family",
           "{ipBlock: {cidr: 10.0.0.0/8, except: ['::/64']}}",
           "nothing",
           {"ipBlock.except[0]"}},
          {"except is a string", "{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}", "nothing", {"ipBlock.except"}},
          {"except is no block", "{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}", "nothing", {"ipBlock.except[0]"}},
          {"except has null", "{ipBlock: {cidr: 10.0.0.0/8, except: [null]}}", "nothing", {"ipBlock.except[0]"}},
          {"one good and one bad except",
           "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 9]}}",
           "nothing",
           {"ipBlock.except[1]"}},
      });
}

TEST(DecodePort, entries) {
  check("ports", {
                     {"T-04 empty", "{}", "TCP"},
                     {"T-02 protocol only", "{protocol: UDP}", "UDP"},
                     {"T-02 port null", "{protocol: SCTP, port: null}", "SCTP"},
                     {"T-03 no protocol", "{port: 53}", "TCP:53"},
                     {"T-03 protocol null", "{port: 53, protocol: null}", "TCP:53"},
                     {"T-05", "{port: 53, protocol: UDP}", "UDP:53"},
                     {"T-25", "{port: 80, protocol: SCTP}", "SCTP:80"},
                     {"T-07 two", "{port: 53, protocol: UDP}, {port: 53}", "UDP:53+TCP:53"},
                     {"T-08 name", "{port: http}", "TCP:http"},
                     {"T-08 name with protocol", "{port: dns-udp, protocol: UDP}", "UDP:dns-udp"},
                     {"T-08 name of 15", "{port: abcdefghijklmno}", "TCP:abcdefghijklmno"},
                     {"T-18 range", "{port: 80, endPort: 90}", "TCP:80-90"},
                     {"T-19 V-03 equal", "{port: 80, endPort: 80}", "TCP:80"},
                     {"T-20 all", "{port: 1, endPort: 65535}", "TCP:1-65535"},
                     {"endPort null", "{port: 80, endPort: null}", "TCP:80"},
                     {"highest", "{port: 65535}", "TCP:65535"},
                     {"a float that is whole, as kubectl reads it", "{port: 80.0}", "TCP:80"},
                 });
}

TEST(DecodePort, V_11_what_cannot_be_read_matches_nothing) {
  check("ports", {
                     {"null", "null", "nothing", {""}},
                     {"a number", "80", "nothing", {""}},
                     {"a string", "http", "nothing", {""}},
                     {"V-01 endPort without port", "{endPort: 90}", "nothing", {"endPort"}},
                     {"V-01 endPort with port null", "{port: null, endPort: 90}", "nothing", {"endPort"}},
                     {"V-02 endPort with a name", "{port: http, endPort: 90}", "nothing", {"endPort"}},
                     {"V-03 endPort below", "{port: 80, endPort: 79}", "nothing", {"endPort"}},
                     {"V-04 endPort above", "{port: 80, endPort: 65536}", "nothing", {"endPort"}},
                     {"endPort is a name", "{port: 80, endPort: https}", "nothing", {"endPort"}},
                     {"endPort is a string", "{port: 80, endPort: '90'}", "nothing", {"endPort"}},
                     {"V-04 T-30 zero", "{port: 0}", "nothing", {"port"}},
                     {"V-04 65536", "{port: 65536}", "nothing", {"port"}},
                     {"V-04 negative", "{port: -1}", "nothing", {"port"}},
                     {"V-04 beyond 32 bits", "{port: 4294967376}", "nothing", {"port"}},
                     {"V-04 beyond 64 bits", "{port: 18446744073709551696}", "nothing", {"port"}},
                     {"a fraction", "{port: 80.5}", "nothing", {"port"}},
                     {"a boolean", "{port: true}", "nothing", {"port"}},
                     {"a list", "{port: [80]}", "nothing", {"port"}},
                     {"a map", "{port: {number: 80}}", "nothing", {"port"}},
                     {"T-29 a number in quotes", "{port: '80'}", "nothing", {"port"}},
                     {"V-04 name too long", "{port: abcdefghijklmnop}", "nothing", {"port"}},
                     {"V-04 upper case", "{port: HTTP}", "nothing", {"port"}},
                     {"V-04 empty name", "{port: ''}", "nothing", {"port"}},
                     {"V-04 two dashes", "{port: a--b}", "nothing", {"port"}},
                     {"V-04 leading dash", "{port: -a}", "nothing", {"port"}},
                     {"V-04 trailing dash", "{port: a-}", "nothing", {"port"}},
                     {"V-04 underscore", "{port: a_b}", "nothing", {"port"}},
                     {"V-05 T-28 unknown protocol", "{protocol: FOO, port: 80}", "nothing", {"protocol"}},
                     {"V-05 T-28 without port", "{protocol: FOO}", "nothing", {"protocol"}},
                     {"V-05 T-28 lower case", "{protocol: tcp}", "nothing", {"protocol"}},
                     {"V-05 T-28 ICMP", "{protocol: ICMP}", "nothing", {"protocol"}},
                     {"V-05 a number", "{protocol: 6, port: 80}", "nothing", {"protocol"}},
                     {"V-05 empty", "{protocol: '', port: 80}", "nothing", {"protocol"}},
                     {"only an unknown field", "{prot: UDP}", "nothing", {""}},
                     {"misspelt port", "{protocol: UDP, prot: 53}", "nothing", {""}},
                     {"a good one stays beside a bad one", "{port: 0}, {port: 80}", "nothing+TCP:80", {"port"}},
                 });
}

}  // namespace
}  // namespace podfence::api
