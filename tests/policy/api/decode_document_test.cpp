// Documents, lists, kinds, what fails as a whole, and what a finding says.
#include "tests/policy/api/describe.h"

namespace podfence::api {
namespace {

std::string keys_of(const Decoded& decoded) {
  std::string out;
  for (const auto& object : decoded.objects) out += (out.empty() ? "" : ", ") + key_of(object).text();
  return out;
}

const std::string pod_a = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\n";
const std::string pod_b = "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: shop}\n";

TEST(DecodeDocument, several_documents_and_kinds_in_their_order) {
  const auto result =
      decoded(pod_b + "---\n---\n# nothing\n---\n" + pod_a +
              "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n...\n---\n"
              "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\n"
              "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\n");
  EXPECT_EQ(keys_of(result), "Pod shop/b, Pod shop/a, Namespace shop, Node n1, NetworkPolicy shop/deny");
  EXPECT_TRUE(result.diagnostics.empty());
}

TEST(DecodeDocument, nothing_at_all) {
  for (const std::string text : {"", "\n", "# comment\n", "---\n", "---\n---\n", "null\n", "~"}) {
    const auto result = decoded(text);
    EXPECT_EQ(keys_of(result), "");
    EXPECT_TRUE(result.diagnostics.empty()) << text;
  }
}

TEST(DecodeDocument, lists) {
  const std::string item = "- {metadata: {name: a, namespace: shop}}\n";
  const auto list = [](const std::string& version, const std::string& kind, const std::string& items) {
    return keys_of(decoded("apiVersion: " + version + "\nkind: " + kind + "\nitems:\n" + items));
  };
  EXPECT_EQ(list("v1", "List",
                 "- {apiVersion: v1, kind: Node, metadata: {name: m}}\n- {apiVersion: v1, kind: Namespace, metadata: "
                 "{name: s}}\n"),
            "Node m, Namespace s");
  EXPECT_EQ(list("v1", "PodList", item), "Pod shop/a");
  EXPECT_EQ(list("v1", "NodeList", item), "Node a");
  EXPECT_EQ(list("v1", "NamespaceList", item), "Namespace a");
  EXPECT_EQ(list("networking.k8s.io/v1", "NetworkPolicyList", item), "NetworkPolicy shop/a");
  EXPECT_EQ(list("v1", "PodList", "- {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}}"), "Pod shop/a");
  EXPECT_EQ(list("v1", "List", ""), "");
  EXPECT_EQ(list("v1", "List", "  []"), "");
}

struct KindCase {
  std::string name;
  std::string document;
  Severity severity;
  std::string path;
};

TEST(DecodeDocument, what_is_no_object_of_ours) {
  const std::vector<KindCase> cases{
      {"another kind", "{apiVersion: v1, kind: ConfigMap}", Severity::note, "kind"},
      {"another group's NetworkPolicy", "{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy}", Severity::note,
       "kind"},
      {"another group's Node", "{apiVersion: longhorn.io/v1beta2, kind: Node}", Severity::note, "kind"},
      {"old policy", "{apiVersion: extensions/v1beta1, kind: NetworkPolicy}", Severity::error, "apiVersion"},
      {"old version", "{apiVersion: networking.k8s.io/v1beta1, kind: NetworkPolicy}", Severity::error, "apiVersion"},
      {"policy of v1", "{apiVersion: v1, kind: NetworkPolicy}", Severity::error, "apiVersion"},
      {"pod of v2", "{apiVersion: v2, kind: Pod}", Severity::error, "apiVersion"},
      {"list of the old policy", "{apiVersion: extensions/v1beta1, kind: NetworkPolicyList}", Severity::error,
       "apiVersion"},
      {"no kind", "{apiVersion: v1}", Severity::error, "kind"},
      {"no version", "{kind: Pod}", Severity::error, "apiVersion"},
      {"kind is a number", "{apiVersion: v1, kind: 1}", Severity::error, "kind"},
      {"version is a number", "{apiVersion: 1, kind: Pod}", Severity::error, "apiVersion"},
      {"a string", "pod", Severity::error, ""},
      {"a list", "[]", Severity::error, ""},
      {"a number", "7", Severity::error, ""},
      {"an empty map", "{}", Severity::error, "kind"},
      {"items is a map", "{apiVersion: v1, kind: List, items: {}}", Severity::error, "items"},
      {"item is null", "{apiVersion: v1, kind: List, items: [null]}", Severity::error, ""},
      {"item is a string", "{apiVersion: v1, kind: List, items: [pod]}", Severity::error, ""},
      {"list in a list", "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: []}]}",
       Severity::error, ""},
      {"untyped item", "{apiVersion: v1, kind: List, items: [{metadata: {name: a}}]}", Severity::error, "kind"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto result = decoded(c.document + "\n---\n" + pod_a);
    EXPECT_EQ(keys_of(result), "Pod shop/a");  // the rest of the file is read all the same
    ASSERT_EQ(result.diagnostics.size(), 1U);
    EXPECT_EQ(result.diagnostics[0].severity, c.severity);
    EXPECT_EQ(result.diagnostics[0].path, c.path);
    EXPECT_EQ(result.diagnostics[0].document, 1U);
    EXPECT_EQ(result.has_errors(), c.severity == Severity::error);
  }
}

TEST(DecodeDocument, a_finding_says_where_it_is) {
  const auto result = decoded(pod_a +
                              "---\n"                                  // line 4
                              "apiVersion: v1\nkind: List\nitems:\n"   // 5, 6, 7
                              "- apiVersion: v1\n  kind: Namespace\n"  // 8, 9
                              "  metadata:\n    name: shop\n"          // 10, 11
                              "- apiVersion: networking.k8s.io/v1\n"   // 12
                              "  kind: NetworkPolicy\n"                // 13
                              "  metadata:\n    name: web\n"           // 14, 15
                              "    namespace: shop\n"                  // 16
                              "  spec:\n    ingress:\n"                // 17, 18
                              "    - from:\n"                          // 19
                              "      - podSelector: {}\n"              // 20
                              "      - ipBlock:\n"                     // 21
                              "          cidr: 10.0.0.0/40\n");        // 22
  ASSERT_EQ(result.diagnostics.size(), 1U);
  EXPECT_EQ(result.diagnostics[0],
            (Diagnostic{Severity::error, "test.yaml", 2, 2, 22, "NetworkPolicy shop/web",
                        "spec.ingress[0].from[1].ipBlock.cidr",
                        "\"10.0.0.0/40\" is not a CIDR block: expected \"10.0.0.0/8\" or \"2001:db8::/32\""}));
  EXPECT_EQ(result.diagnostics[0].text(),
            "test.yaml:22: error: document 2, item 2: NetworkPolicy shop/web: spec.ingress[0].from[1].ipBlock.cidr: "
            "\"10.0.0.0/40\" is not a CIDR block: expected \"10.0.0.0/8\" or \"2001:db8::/32\"");
}

TEST(DecodeDocument, a_finding_has_no_control_characters_and_is_short) {
  const std::string nasty =
      R"(metadata: {name: a, namespace: shop, labels: {"a\e[31m\n": "\u0007\u0085\u2028x", b: ")" +
      std::string(5000, 'y') + "\"}}\n";
  auto result = decode_yaml("dir/\x1b[1m\n.yaml", "apiVersion: v1\nkind: Pod\n" + nasty);
  ASSERT_TRUE(result);
  ASSERT_EQ(result->diagnostics.size(), 3U);
  for (const auto& d : result->diagnostics) {
    EXPECT_LT(d.text().size(), 600U);
    for (const char c : d.text()) EXPECT_GE(static_cast<unsigned char>(c), 0x20U);
    EXPECT_EQ(d.text().find("\xc2\x85"), std::string::npos);
  }
}

TEST(DecodeDocument, findings_are_limited_but_errors_stay_errors) {
  std::string many = "apiVersion: v1\nkind: List\nitems:\n";
  for (int i = 0; i < 3000; ++i) many += "- {apiVersion: v1, kind: ConfigMap}\n";
  many += "- {apiVersion: v1, kind: Pod}\n";
  const auto result = decoded(many);
  EXPECT_TRUE(result.has_errors());
  EXPECT_EQ(result.diagnostics.size(), 1002U);
  EXPECT_NE(result.diagnostics.back().message.find("2000 more"), std::string::npos);
}

TEST(DecodeJson, is_read_like_yaml) {
  const auto result = decode_json("a.json", R"({"apiVersion":"v1","kind":"PodList","items":[
    {"metadata":{"name":"a","namespace":"shop"},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"}]}},
    {"metadata":{"name":"b","namespace":"shop"},"status":{"podIP":"x"}}]})");
  ASSERT_TRUE(result);
  EXPECT_EQ(keys_of(*result), "Pod shop/a, Pod shop/b");
  ASSERT_EQ(result->diagnostics.size(), 1U);
  EXPECT_EQ(result->diagnostics[0].text(),
            "a.json: error: document 1, item 2: Pod shop/b: status.podIP: \"x\" is not an IP address");
}

TEST(DecodeJson, a_number_in_the_place_of_a_string_is_no_string) {
  const auto result = decode_json(
      "a.json", R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"s","labels":{"a":80.0}}})");
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->has_errors());
}

struct FailCase {
  std::string name;
  std::string text;
  Errc code;
  std::string says;
};

void check_failures(bool json, const std::vector<FailCase>& cases) {
  Limits limits;
  limits.bytes = 4000;
  limits.depth = 10;
  limits.nodes = 100;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto result = json ? decode_json("f", c.text, limits) : decode_yaml("f", c.text, limits);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), c.code);
    EXPECT_EQ(result.error().what().substr(0, 3), "f: ");
    EXPECT_NE(result.error().what().find(c.says), std::string::npos) << result.error().what();
  }
}

TEST(DecodeJson, fails_as_a_whole) {
  const std::string pod = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}})";
  check_failures(
      true, {
                {"empty", "", Errc::invalid, ""},
                {"cut short", pod.substr(0, pod.size() - 1), Errc::invalid, ""},
                {"trailing text", pod + " x", Errc::invalid, ""},
                {"two documents", pod + pod, Errc::invalid, ""},
                {"bad UTF-8", "{\"a\": \"\xff\"}", Errc::invalid, "UTF-8"},
                {"control character", "{\"a\": \"\x01\"}", Errc::invalid, ""},
                {"YAML", "a: b", Errc::invalid, ""},
                {"key twice", R"({"a": 1, "b": 2, "a": 1})", Errc::invalid, "the key \"a\" is there twice"},
                {"key twice, deep", R"({"a": [{"b": {"c": 1, "c": 2}}]})", Errc::invalid, "a[0].b: the key \"c\""},
                {"key twice, escaped", R"({"a": 1, "\u0061": 2})", Errc::invalid, "twice"},
                {"key twice in what is skipped", R"({"kind": "X", "data": {"c": 1, "c": 2}})", Errc::invalid, "data"},
                {"deep", std::string(11, '[') + std::string(11, ']'), Errc::limit, "10 levels"},
                {"very deep", std::string(1900, '[') + std::string(1900, ']'), Errc::limit, "10 levels"},
                {"large", "{}" + std::string(5000, ' '), Errc::limit, "4000 bytes"},
            });
}

TEST(DecodeYaml, fails_as_a_whole) {
  std::string wide = "[";
  for (int i = 0; i < 200; ++i) wide += "1,";
  check_failures(
      false,
      {
          {"syntax", "a: b\nc: [d\n", Errc::invalid, "line 3"},
          {"bad indentation", "a:\n  b: 1\n c: 2\n", Errc::invalid, "line 3"},
          {"tab", "a:\n\tb: 1\n", Errc::invalid, "line 2"},
          {"second document", "a: b\n---\n[", Errc::invalid, "line 3"},
          {"alias", "a: &x {b: c}\nd: *x\n", Errc::invalid, "line 2: an alias"},
          {"alias of nothing", "a: *x\n", Errc::invalid, "line 1"},
          {"alias as key", "a: &x b\n*x : c\n", Errc::invalid, "line 2"},
          {"merge key", "a: {b: c}\nd:\n  <<: {b: c}\n", Errc::invalid, "line 3: a merge key"},
          {"key twice", "a: 1\nb: 2\na: 3\n", Errc::invalid, "line 3: the key \"a\" is there twice"},
          {"key twice, deep", "a:\n- b: {c: 1}\n- b:\n    c: 1\n    c: 2\n", Errc::invalid,
           "line 5: a[1].b: the key \"c\""},
          {"key twice, quoted", "a: 1\n'a': 3\n", Errc::invalid, "line 2"},
          {"key twice, as a boolean", "yes: 1\non: 3\n", Errc::invalid, "line 2: the key \"true\""},
          {"key is a list", "? [a]\n: b\n", Errc::invalid, "line 1: a map or a list is no key"},
          {"key is a map", "{{a: b}: c}\n", Errc::invalid, "line 1: a map or a list is no key"},
          {"key is null", "~: c\n", Errc::invalid, "line 1"},
          {"key is missing", ": c\n", Errc::invalid, "line 1"},
          {"own tag", "a: !foo b\n", Errc::invalid, "line 1: the tag !foo"},
          {"binary", "a: !!binary YQ==\n", Errc::invalid, "line 1: the tag"},
          {"set", "!!set {a: null}\n", Errc::invalid, "line 1: the tag"},
          {"no int", "a: !!int b\n", Errc::invalid, "line 1: the tag"},
          {"end of input inside", std::string("a: b\n\x04\nc: d\n"), Errc::invalid, "line 2: a control character"},
          {"NUL", std::string("a: b\nc: \0d\n", 11), Errc::invalid, "line 2: a control character"},
          {"escape", "a: \x1b[31m\n", Errc::invalid, "line 1: a control character"},
          {"deep flow", std::string(11, '[') + std::string(11, ']'), Errc::limit, "line 1: nested deeper than 10"},
          {"a comma too many", "{a: b}\n, c", Errc::invalid, "line 2: not the start of a document"},
          {"many values", wide + "1]", Errc::limit, "line 1: more than 100"},
          {"large", std::string(5000, ' '), Errc::limit, "4000 bytes"},
      });
}

TEST(DecodeYaml, is_not_brought_down_by_nesting) {
  for (const std::string unit : {"[", "{", "[{", "{a: ", "[a: ", "- ", "? ", "- ? ", "- - a: ", "[? "}) {
    std::string text;
    while (text.size() < 100000) text += unit;
    EXPECT_FALSE(decode_yaml("f", text)) << unit;
  }
}

TEST(DecodeYaml, an_anchor_that_nobody_uses_is_harmless) {
  EXPECT_EQ(keys_of(decoded("&x\napiVersion: v1\nkind: Pod\nmetadata: &y {name: a, namespace: shop}\n")), "Pod shop/a");
}

TEST(DecodeYaml, a_quoted_merge_key_is_an_ordinary_key) {
  EXPECT_FALSE(
      decoded("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {'<<': 1}\n").has_errors());
}

TEST(DecodeFile, goes_by_the_name) {
  const std::string json = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}})";
  EXPECT_TRUE(decode_file("a.json", json));
  EXPECT_TRUE(decode_file("a.yaml", json));
  EXPECT_TRUE(decode_file("a.yml", pod_a));
  EXPECT_FALSE(decode_file("a.json", pod_a));
}

TEST(Severity, has_a_name) {
  EXPECT_EQ(name_of(Severity::error), "error");
  EXPECT_EQ(name_of(Severity::warning), "warning");
  EXPECT_EQ(name_of(Severity::note), "note");
}

}  // namespace
}  // namespace podfence::api
