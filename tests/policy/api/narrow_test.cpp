// V-11: whatever is wrong in a policy, it never lets more pass than the policy without the mistake. Every value of a
// few policies is replaced by every kind of wrong value, and every field is misspelt, one at a time.
#include <functional>

#include "policy/api/value.h"
#include "policy/evaluate/evaluate.h"
#include "tests/policy/api/describe.h"
#include "tests/support/builders.h"

namespace podfence::api {
namespace {

namespace dom = simdjson::dom;

const std::vector<std::string> policies{
    R"({"podSelector":{"matchLabels":{"app":"web"}},"policyTypes":["Ingress","Egress"],
        "ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"cli"}}},
                            {"ipBlock":{"cidr":"198.51.100.0/24","except":["198.51.100.128/25"]}}],
                    "ports":[{"protocol":"TCP","port":80},{"protocol":"UDP","port":"dns"}]}],
        "egress":[{"to":[{"namespaceSelector":{"matchLabels":{"team":"a"}},"podSelector":{}}],
                   "ports":[{"port":8000,"endPort":8010}]}]})",
    R"({"podSelector":{"matchExpressions":[{"key":"app","operator":"In","values":["web"]}]},"policyTypes":["Ingress"],
        "ingress":[{"from":[{"podSelector":{"matchExpressions":[{"key":"app","operator":"NotIn","values":["web"]},
                                                               {"key":"tier","operator":"DoesNotExist"}]}}]},
                   {"ports":[{"port":443}]}]})",
    R"({"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"0.0.0.0/0",
        "except":["10.0.0.0/8","198.51.100.0/24"]}}]}]})",
};

const std::vector<std::string> wrong_values{
    "null", "true", "7",      "-1",  "70000",    "1.5", "\"\"", "\"x y\"", "\"NoSuchThing\"",
    "[]",   "{}",   "[null]", "[7]", "{\"x\":7}"};

/// Writes a JSON value again, asking at every value (and key) whether something else is to stand there.
class Rewriter {
 public:
  /// The text with place number `target` replaced; places are counted from 0.
  std::string with(dom::element root, std::size_t target, const std::string& by) {
    out_.clear();
    count_ = 0;
    target_ = target;
    by_ = by;
    write(root);
    return out_;
  }
  std::size_t places() const { return count_; }

 private:
  void write(dom::element element) {
    if (count_++ == target_) {
      out_ += by_;
    } else if (element.is_array()) {
      char separator = '[';
      for (const auto item : dom::array(element)) {
        out_ += std::exchange(separator, ',');
        write(item);
      }
      out_ += separator == '[' ? "[]" : "]";
    } else if (element.is_object()) {
      char separator = '{';
      for (const auto [key, value] : dom::object(element)) {
        out_ += std::exchange(separator, ',');
        // "!" as replacement stands for a misspelt key.
        const bool misspelt = by_ == "!" && count_++ == target_;
        out_ += '"' + std::string(key) + (misspelt ? "x\":" : "\":");
        write(value);
      }
      out_ += separator == '{' ? "{}" : "}";
    } else {
      out_ += simdjson::minify(element);
    }
  }

  std::string out_;
  std::size_t count_ = 0;
  std::size_t target_ = 0;
  std::string by_;
};

class Narrow : public testing::Test {
 protected:
  static store::Cluster world_with(const NetworkPolicy& policy) {
    return test::cluster_of({test::ns("shop").label("team", "a"), test::ns("other"),
                             test::pod("web").ns("shop").label("app", "web").ip("10.0.0.1").port("dns", 53, net::udp),
                             test::pod("cli").ns("shop").label("app", "cli").ip("10.0.0.2"),
                             test::pod("back").ns("shop").label("app", "back").label("tier", "b").ip("10.0.0.3"),
                             test::pod("far").ns("other").label("app", "cli").ip("10.0.0.4"), policy});
  }

  /// One letter for each flow of the sample: '1' passes.
  static std::string verdicts(const NetworkPolicy& policy) {
    const auto world = world_with(policy);
    const std::vector<std::string> ends{"10.0.0.1",     "10.0.0.2",       "10.0.0.3",   "10.0.0.4",
                                        "198.51.100.1", "198.51.100.200", "203.0.113.1"};
    std::string out;
    for (const auto& from : ends) {
      for (const auto& to : ends) {
        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{53, 80, 443, 8000, 8010, 8011, 9000}) {
          for (const auto protocol : {net::tcp, net::udp, net::sctp}) {
            out += evaluate::evaluate(world, test::flow(from, to, protocol, port)).allowed ? '1' : '0';
          }
        }
        out += evaluate::evaluate(world, test::flow(from, to, net::icmp)).allowed ? '1' : '0';
      }
    }
    return out;
  }

  static Decoded decode_spec(const std::string& spec) {
    const auto result = decode_json(
        "t.json",
        R"({"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"shop"},"spec":)" +
            spec + "}");
    EXPECT_TRUE(result) << spec;
    return result ? *result : Decoded{};
  }

  static void expect_no_wider(const std::string& original, const std::string& spec) {
    const auto result = decode_spec(spec);
    const auto& policy = only<NetworkPolicy>(result);
    if (!result.has_errors()) return;  // another policy, but a valid one
    const std::string now = verdicts(policy);
    for (std::size_t i = 0; i < now.size(); ++i) {
      ASSERT_LE(now[i], original[i]) << "flow " << i << " passes with\n" << spec << "\nread as " << describe(policy);
    }
  }
};

TEST_F(Narrow, V_11_a_wrong_value_anywhere_never_widens) {
  for (const auto& text : policies) {
    dom::parser parser;
    const simdjson::padded_string padded(text);
    const dom::element spec = parser.parse(padded);
    const auto valid = decode_spec(text);
    ASSERT_FALSE(valid.has_errors());
    const std::string original = verdicts(only<NetworkPolicy>(valid));
    ASSERT_NE(original.find('0'), std::string::npos);
    ASSERT_NE(original.find('1'), std::string::npos);
    Rewriter rewriter;
    rewriter.with(spec, static_cast<std::size_t>(-1), "");
    const std::size_t places = rewriter.places();
    for (std::size_t place = 0; place < places; ++place) {
      for (const auto& wrong : wrong_values) expect_no_wider(original, rewriter.with(spec, place, wrong));
    }
  }
}

TEST_F(Narrow, V_11_a_misspelt_field_that_is_an_error_never_widens) {
  std::size_t errors = 0;
  for (const auto& text : policies) {
    dom::parser parser;
    const simdjson::padded_string padded(text);
    const dom::element spec = parser.parse(padded);
    const std::string original = verdicts(only<NetworkPolicy>(decode_spec(text)));
    Rewriter rewriter;
    rewriter.with(spec, static_cast<std::size_t>(-1), "!");
    const std::size_t places = rewriter.places();
    for (std::size_t place = 0; place < places; ++place) {
      const std::string changed = rewriter.with(spec, place, "!");
      if (changed.find('!') != std::string::npos) continue;  // a value, not a key
      expect_no_wider(original, changed);
      errors += decode_spec(changed).has_errors() ? 1 : 0;
    }
  }
  EXPECT_GT(errors, 10U);
}

}  // namespace
}  // namespace podfence::api
