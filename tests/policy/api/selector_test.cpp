#include "policy/api/selector.h"

#include "tests/policy/api/describe.h"
#include "tests/support/builders.h"

namespace podfence::api {
namespace {

const Labels web{{"app", "web"}, {"empty", ""}, {"tier", "front"}};

struct MatchCase {
  std::string name;
  std::string selector;  // YAML
  bool matches;
};

LabelSelector selector_of(const std::string& yaml) {
  return only<NetworkPolicy>(decoded_policy("{podSelector: " + yaml + "}")).pod_selector;
}

TEST(Selector, matches_labels) {
  const std::vector<MatchCase> cases{
      {"L-01 one pair", "{matchLabels: {app: web}}", true},
      {"L-01 two pairs are ANDed", "{matchLabels: {app: web, tier: front}}", true},
      {"L-01 two pairs, one wrong", "{matchLabels: {app: web, tier: back}}", false},
      {"L-01 value is case-sensitive", "{matchLabels: {app: Web}}", false},
      {"L-01 key is case-sensitive", "{matchLabels: {App: web}}", false},
      {"L-01 value is no prefix", "{matchLabels: {app: we}}", false},
      {"L-01 value is no longer", "{matchLabels: {app: webs}}", false},
      {"L-01 unknown key", "{matchLabels: {other: web}}", false},
      {"L-02 labels and expressions hold",
       "{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: Exists}]}", true},
      {"L-02 labels hold only", "{matchLabels: {app: web}, matchExpressions: [{key: x, operator: Exists}]}", false},
      {"L-02 expressions hold only", "{matchLabels: {app: x}, matchExpressions: [{key: tier, operator: Exists}]}",
       false},
      {"L-03 In, listed", "{matchExpressions: [{key: app, operator: In, values: [a, web]}]}", true},
      {"L-03 In, not listed", "{matchExpressions: [{key: app, operator: In, values: [a, b]}]}", false},
      {"L-03 In, key absent", "{matchExpressions: [{key: x, operator: In, values: [web]}]}", false},
      {"L-03 In with the empty value, key absent", "{matchExpressions: [{key: x, operator: In, values: ['']}]}", false},
      {"L-04 NotIn, listed", "{matchExpressions: [{key: app, operator: NotIn, values: [a, web]}]}", false},
      {"L-04 NotIn, not listed", "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}", true},
      {"L-04 NotIn, key absent", "{matchExpressions: [{key: x, operator: NotIn, values: [web]}]}", true},
      {"L-05 Exists", "{matchExpressions: [{key: app, operator: Exists}]}", true},
      {"L-05 Exists, empty value", "{matchExpressions: [{key: empty, operator: Exists}]}", true},
      {"L-05 Exists, absent", "{matchExpressions: [{key: x, operator: Exists}]}", false},
      {"L-05 Exists with values null", "{matchExpressions: [{key: app, operator: Exists, values: null}]}", true},
      {"L-06 DoesNotExist, there", "{matchExpressions: [{key: app, operator: DoesNotExist}]}", false},
      {"L-06 DoesNotExist, empty value", "{matchExpressions: [{key: empty, operator: DoesNotExist}]}", false},
      {"L-06 DoesNotExist, absent", "{matchExpressions: [{key: x, operator: DoesNotExist}]}", true},
      {"L-07 two on a key hold",
       "{matchExpressions: [{key: app, operator: In, values: [web, b]}, {key: app, operator: NotIn, values: [b]}]}",
       true},
      {"L-07 two on a key, one fails",
       "{matchExpressions: [{key: app, operator: In, values: [web, b]}, {key: app, operator: NotIn, values: [web]}]}",
       false},
      {"L-08 empty", "{}", true},
      {"L-08 empty parts", "{matchLabels: {}, matchExpressions: []}", true},
      {"L-08 null parts", "{matchLabels: null, matchExpressions: null}", true},
      {"L-09 empty value", "{matchLabels: {empty: ''}}", true},
      {"L-09 empty value of a key with one", "{matchLabels: {app: ''}}", false},
      {"L-09 empty value of an absent key", "{matchLabels: {x: ''}}", false},
      {"L-15 the name is no label", "{matchLabels: {metadata.name: web}}", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name + " " + c.selector);
    EXPECT_EQ(selector_of(c.selector).matches(web), c.matches);
  }
}

// L-12, V-10
TEST(Selector, L_12_an_invalid_one_matches_nothing) {
  LabelSelector invalid;
  invalid.invalid = true;
  EXPECT_FALSE(invalid.matches(web));
  EXPECT_FALSE(invalid.matches({}));
  EXPECT_FALSE(invalid.matches_everything());
}

TEST(Selector, L_09_no_labels_at_all) {
  EXPECT_TRUE(LabelSelector{}.matches({}));
  EXPECT_TRUE(selector_of("{matchExpressions: [{key: a, operator: DoesNotExist}]}").matches({}));
  EXPECT_FALSE(selector_of("{matchLabels: {a: ''}}").matches({}));
}

TEST(Selector, is_the_same_however_it_is_written) {
  const auto one = selector_of("{matchLabels: {a: x, b: y}}");
  EXPECT_EQ(one, selector_of("{matchLabels: {b: y, a: x}}"));
  EXPECT_EQ(
      one,
      selector_of("{matchExpressions: [{key: b, operator: In, values: [y, y]}, {key: a, operator: In, values: [x]}]}"));
  EXPECT_EQ(one, selector_of("{matchLabels: {a: x, b: y}, matchExpressions: [{key: a, operator: In, values: [x]}]}"));
  EXPECT_NE(one, selector_of("{matchLabels: {a: x}}"));
}

TEST(Selector, says_what_it_selects) {
  EXPECT_EQ(LabelSelector{}.text(), "<everything>");
  LabelSelector invalid;
  invalid.invalid = true;
  EXPECT_EQ(invalid.text(), "<invalid>");
  EXPECT_EQ(selector_of("{matchLabels: {app: web}, matchExpressions: [{key: legacy, operator: DoesNotExist}, "
                        "{key: tier, operator: In, values: [b, a]}, {key: x, operator: NotIn, values: [c]}, "
                        "{key: 'y', operator: NotIn, values: [d, c]}, {key: z, operator: Exists}]}")
                .text(),
            "app=web,!legacy,tier in (a,b),x!=c,y notin (c,d),z");
}

}  // namespace
}  // namespace podfence::api
