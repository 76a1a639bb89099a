#include "enforcer/cli/flows.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/enforcer/cli/files.h"

namespace podfence::cli {
namespace {

/// shop/web (10.0.1.5) to db/pg, twice, of which one by db/other; a loss; and what is none of ours.
constexpr std::string_view log_text =
    R"({"schema":"podfence.flow/v1","type":"agent","time":"2026-11-23T17:00:00Z","event":"start"}
{"schema":"podfence.flow/v1","type":"flow","time":"2026-11-23T17:30:00Z","end":"2026-11-23T17:30:04Z","direction":"ingress","verdict":"deny","reason":"default_deny","policies":[{"namespace":"db","name":"deny-all"}],"source":{"type":"pod","ip":"10.0.1.5","port":4000,"k8s":{"namespace":"shop","pod":"web"}},"destination":{"type":"pod","ip":"10.0.2.9","port":5432,"k8s":{"namespace":"db","pod":"pg"}},"network":{"transport":"tcp"},"count":3}
{"schema":"podfence.flow/v1","type":"flow","time":"2026-11-23T17:31:00Z","end":"2026-11-23T17:31:04Z","direction":"ingress","verdict":"deny","reason":"default_deny","policies":[{"namespace":"db","name":"other"}],"source":{"type":"pod","ip":"10.0.1.5","port":4001,"k8s":{"namespace":"shop","pod":"web"}},"destination":{"type":"pod","ip":"10.0.2.9","port":9000,"k8s":{"namespace":"db","pod":"pg"}},"network":{"transport":"tcp"},"count":1}
{"schema":"podfence.flow/v1","type":"loss","time":"2026-11-23T17:31:00Z","end":"2026-11-23T17:31:05Z","stage":"nflog_tail","lost":7,"exact":true}
no record
)";

class FlowsCommand : public ::testing::Test {
 protected:
  FlowsCommand() { options_.file = files_.write("flows.jsonl", log_text); }

  int run() {
    out_.str("");
    err_.str("");
    return flows(options_, out_, err_);
  }
  std::size_t lines() const {
    const std::string text = out_.str();
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  test::Files files_;
  FlowsOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(FlowsCommand, ShowsAllAndSaysWhatItCouldNotRead) {
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(lines(), 4U) << out_.str();
  EXPECT_EQ(err_.str(), "podfence: " + options_.file + ": lines that are no records of podfence.flow/v1: 1\n");
}

TEST_F(FlowsCommand, FiltersAreCombined) {
  options_.from = {"shop/", "!shop/api"};
  options_.to = {"db/pg"};
  options_.port = {"!9000"};
  options_.deny = true;
  options_.reason = {"default_deny"};
  options_.policy = {"db/"};
  options_.since = "2026-11-23T17:30:00Z";
  options_.until = "2026-11-23T17:31:00Z";
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(lines(), 2U) << out_.str();
  EXPECT_NE(out_.str().find("by db/deny-all\n"), std::string::npos);
  EXPECT_NE(out_.str().find("LOST 7"), std::string::npos);
}

TEST_F(FlowsCommand, NothingFoundIsTwo) {
  options_.from = {"shop/api"};
  options_.since = "2026-11-23T17:32:00Z";
  EXPECT_EQ(run(), 2);
  EXPECT_EQ(out_.str(), "");
  EXPECT_NE(err_.str().find("no record matches\n"), std::string::npos) << err_.str();
}

TEST_F(FlowsCommand, ALossAloneAnswersNoQuestion) {
  options_.from = {"shop/api"};
  EXPECT_EQ(run(), 2);
  EXPECT_NE(err_.str().find("no record matches, but 7 denied packets are in no record"), std::string::npos);
  options_.from.clear();
  options_.since = "2026-11-23T17:31:05Z";
  EXPECT_EQ(run(), 0) << "asked for all of a time, it is an answer";
}

TEST_F(FlowsCommand, LastGivesTheNewestThatMatch) {
  options_.from = {"shop/"};
  options_.last = 2;
  options_.format = flow::Format::native;
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(lines(), 2U);
  EXPECT_NE(out_.str().find("\"name\":\"other\""), std::string::npos);
  EXPECT_NE(out_.str().find("\"type\":\"loss\""), std::string::npos);
}

TEST_F(FlowsCommand, ABadFilterIsAnErrorThatNamesItsOption) {
  const auto says = [&](std::vector<std::string>& values, const char* value, const std::string& expected) {
    values = {value};
    EXPECT_EQ(run(), 1) << value;
    EXPECT_EQ(err_.str().substr(0, expected.size()), expected);
    EXPECT_EQ(out_.str(), "");
    values.clear();
  };
  says(options_.from, "10.0.0.0/33", "podfence: --from: '10.0.0.0/33' is none of namespace/pod");
  says(options_.to, "!app=we b", "podfence: --to: 'app=we b' is none of");
  says(options_.to, "!", "podfence: --to: '' is none of");
  says(options_.port, "70000", "podfence: --port: '70000' is no port");
  says(options_.verdict, "drop", "podfence: --verdict: 'drop' is no verdict: give one of allow, deny");
  says(options_.reason, "why", "podfence: --reason: 'why' is no reason: give one of");
  says(options_.policy, "a/b/c", "podfence: --policy: 'a/b/c' names no policy");
  options_.since = "yesterday";
  EXPECT_EQ(run(), 1);
  EXPECT_NE(err_.str().find("--since: 'yesterday' is neither"), std::string::npos) << err_.str();
  options_.since = "1h";
  options_.until = "2h";
  EXPECT_EQ(run(), 1);
  EXPECT_NE(err_.str().find("--until: is before --since"), std::string::npos) << err_.str();
}

TEST_F(FlowsCommand, AFilterByLabelThatNoRecordCanAnswerIsAnErrorAndNoEmptyAnswer) {
  for (const char* asked : {"app=web", "!app=web", "app=web,tier=db"}) {
    options_.from = {asked};
    EXPECT_EQ(run(), 1) << asked;
    EXPECT_NE(err_.str().find(": no record holds a label app, so a filter by it says nothing"), std::string::npos)
        << err_.str();
  }
  std::string labelled(log_text);
  const std::string_view pod = R"("pod":"web"})";  // of the second flow: the first was written without labels
  labelled.insert(labelled.rfind(pod) + pod.size() - 1, R"(,"labels":{"app":"web"})");
  options_.file = files_.write("labelled.jsonl", labelled);
  options_.from = {"app=web"};
  options_.format = flow::Format::native;
  EXPECT_EQ(run(), 0) << err_.str();
  EXPECT_EQ(lines(), 2U) << "and the loss: " << out_.str();
  EXPECT_NE(out_.str().find("\"name\":\"other\""), std::string::npos);
  EXPECT_NE(err_.str().find("records that were written without labels, and match no filter by label: 2\n"),
            std::string::npos)
      << err_.str() << "the destination of the second has none";
  options_.from = {"app=db"};
  EXPECT_EQ(run(), 2) << "records could tell";
  options_.from = {"!app=web"};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(out_.str().find("\"name\":\"other\""), std::string::npos);
  options_.since = "2026-11-23T17:32:00Z";
  EXPECT_EQ(run(), 1) << "of that time no record tells";
}

TEST_F(FlowsCommand, AFileThatIsNotThereIsAnError) {
  options_.file = files_.path("none.jsonl");
  EXPECT_EQ(run(), 1);
  EXPECT_NE(err_.str().find("none.jsonl: cannot be read"), std::string::npos);
}

}  // namespace
}  // namespace podfence::cli
