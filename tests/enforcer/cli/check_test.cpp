#include "enforcer/cli/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <sstream>

#include "tests/enforcer/cli/files.h"

namespace podfence::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view bad_policy =
    "apiVersion: networking.k8s.io/v1\n"
    "kind: NetworkPolicy\n"
    "metadata: {name: bad, namespace: shop}\n"
    "spec:\n"
    "  podSelector: {}\n"
    "  ingress:\n"
    "    - from: [{ipBlock: {cidr: 10.0.0.0/99}}]\n";

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran checked(const std::vector<std::string>& paths, Report report = Report::text) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = check({paths, report}, out, err);
  return {code, out.str(), err.str()};
}

TEST(Check, GoodManifestsAreFine) {
  const test::Files files;
  files.write("a/world.yaml", test::shop_world);
  const Ran ran = checked({files.path()});
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  EXPECT_EQ(ran.out, "1 file, 11 objects: 0 errors, 0 warnings, 0 notes\n");
  EXPECT_EQ(ran.err, "");
}

TEST(Check, AnInvalidFieldIsAFinding) {
  const test::Files files;
  const std::string file = files.write("bad.yaml", bad_policy);
  files.write("world.yml", test::shop_world);
  const Ran ran = checked({files.path()});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.out, HasSubstr(file));
  EXPECT_THAT(ran.out, HasSubstr("NetworkPolicy shop/bad"));
  EXPECT_THAT(ran.out, HasSubstr("spec.ingress[0].from[0].ipBlock.cidr"));
  EXPECT_THAT(ran.out, HasSubstr("2 files, 12 objects: 1 error, 0 warnings, 0 notes\n"));
}

TEST(Check, AFileThatIsNoYamlIsAFinding) {
  const test::Files files;
  const std::string file = files.write("broken.yaml", "a: [\n");
  const Ran ran = checked({file}, Report::json);
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.out, HasSubstr(R"("severity":"error","file":")" + file));
}

TEST(Check, WhatCannotBeReadIsAnError) {
  const test::Files files;
  files.write("notes.txt", "");
  const std::string bad = files.write("bad.yaml", bad_policy);
  EXPECT_EQ(checked({files.path("gone.yaml")}).code, 1);
  EXPECT_THAT(checked({files.path("gone.yaml")}).err, HasSubstr("gone.yaml"));
  const Ran both = checked({files.path("gone"), bad});
  EXPECT_EQ(both.code, 1);
  EXPECT_THAT(both.out, HasSubstr("shop/bad"));
  std::filesystem::create_directory(files.path("empty"));
  EXPECT_EQ(checked({files.path("empty")}).code, 1);
  EXPECT_THAT(checked({files.path("empty")}).err, HasSubstr("no *.yaml"));
}

TEST(Check, TheSameObjectTwiceIsAWarning) {
  const test::Files files;
  const std::string one = files.write("1.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n");
  files.write("2.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n");
  const Ran ran = checked({files.path()});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("Namespace shop"));
  EXPECT_THAT(ran.out, HasSubstr("the same object is in " + one + " too"));
  EXPECT_THAT(ran.out, HasSubstr("2 files, 2 objects: 0 errors, 1 warning, 0 notes\n"));
}

Findings sample() {
  Findings findings;
  findings.files = {"a dir/b&<.yaml", "ok.yaml"};
  findings.objects = 3;
  api::Diagnostic d;
  d.file = "a dir/b&<.yaml";
  d.document = 2;
  d.line = 7;
  d.object = "NetworkPolicy shop/x";
  d.path = "spec.ingress[0]";
  d.message = "\"70000\" is <no> port\x01 & so on";
  findings.diagnostics.push_back(d);
  d.severity = api::Severity::warning;
  d.file = "ok.yaml";
  d.line = 0;
  d.item = 4;
  d.object = d.path = "";
  d.message = "odd";
  findings.diagnostics.push_back(d);
  return findings;
}

TEST(CheckReport, Json) {
  EXPECT_EQ(report_json(sample()),
            R"({"files":2,"objects":3,"errors":1,"warnings":1,"notes":0,"findings":[)"
            R"({"severity":"error","file":"a dir/b&<.yaml","document":2,"line":7,"object":"NetworkPolicy shop/x",)"
            R"("path":"spec.ingress[0]","message":"\"70000\" is <no> port\u0001 & so on"},)"
            R"({"severity":"warning","file":"ok.yaml","document":2,"item":4,"message":"odd"}]})"
            "\n");
}

TEST(CheckReport, SarifHasWhatViewersNeed) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const std::string text = report_sarif(sample());
  ASSERT_EQ(parser.parse(text).get(root), simdjson::SUCCESS) << text;
  const auto at = [&](std::string_view pointer) { return simdjson::to_string(root.at_pointer(pointer)); };
  EXPECT_EQ(at("/version"), "\"2.1.0\"");
  EXPECT_EQ(at("/runs/0/tool/driver/name"), "\"podfence\"");
  EXPECT_EQ(at("/runs/0/tool/driver/rules/0/id"), "\"podfence/error\"");
  EXPECT_EQ(at("/runs/0/results/0/ruleId"), "\"podfence/error\"");
  EXPECT_EQ(at("/runs/0/results/0/level"), "\"error\"");
  EXPECT_EQ(at("/runs/0/results/0/locations/0/physicalLocation/artifactLocation/uri"), "\"a%20dir/b&%3C.yaml\"");
  EXPECT_EQ(at("/runs/0/results/0/locations/0/physicalLocation/region/startLine"), "7");
  EXPECT_EQ(at("/runs/0/results/0/locations/0/logicalLocations/0/fullyQualifiedName"),
            "\"NetworkPolicy shop/x spec.ingress[0]\"");
  EXPECT_EQ(at("/runs/0/results/1/level"), "\"warning\"");
  EXPECT_NE(root.at_pointer("/runs/0/results/1/locations/0/physicalLocation/region").error(), simdjson::SUCCESS);
}

TEST(CheckReport, JunitIsEscapedXml) {
  const std::string text = report_junit(sample());
  EXPECT_THAT(text, HasSubstr("<testsuites tests=\"2\" failures=\"1\" errors=\"0\">"));
  EXPECT_THAT(text, HasSubstr("name=\"a dir/b&amp;&lt;.yaml\""));
  EXPECT_THAT(text, HasSubstr("message=\"NetworkPolicy shop/x spec.ingress[0]: &quot;70000&quot; is &lt;no&gt; "
                              "port\xef\xbf\xbd &amp; so on\""));
  EXPECT_THAT(text, HasSubstr("<system-out>"));
  EXPECT_THAT(text, Not(HasSubstr("\x01")));
}

TEST(CheckReport, TextCountsInWords) {
  EXPECT_THAT(report_text(sample()), HasSubstr("2 files, 3 objects: 1 error, 1 warning, 0 notes\n"));
  EXPECT_EQ(report_text({}), "0 files, 0 objects: 0 errors, 0 warnings, 0 notes\n");
}

}  // namespace
}  // namespace podfence::cli
