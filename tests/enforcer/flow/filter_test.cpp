#include "enforcer/flow/filter.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"

namespace podfence::flow {
namespace {

using podfence::test::ip;

TimePoint at(const char* text) {
  return parse_time(text).value();
}

LoggedLine parsed(const std::string& json) {
  return LineParser().parse(json).value();
}

FlowRecord denied() {
  FlowRecord record;
  record.time = at("2026-11-23T17:30:00.123456Z");
  record.end = at("2026-11-23T17:30:04Z");
  record.attribution = Attribution::set;
  record.policies = {{"db", "allow-api", "u", 4}, {"db", "deny-all", "v", 1}};
  record.source = {
      EndpointType::pod, ip("10.0.1.5"), net::Port{43210}, {"shop", "web-1", "", "Deployment", "web", "", ""}};
  record.destination = {EndpointType::pod, ip("10.0.2.9"), net::Port{5432}, {"db", "pg", "", "", "", "", "postgres"}};
  record.family = net::Family::ipv4;
  record.protocol = net::tcp;
  record.count = 14;
  return record;
}

std::string json_of(const FlowRecord& record) {
  return RecordWriter("n1", "", "i").line(record, 1, record.end);
}
LoggedLine line(const FlowRecord& record = denied()) {
  return parsed(json_of(record));
}
LoggedLine loss() {
  const LossRecord record{at("2026-11-23T17:30:00Z"), at("2026-11-23T17:30:05Z"), "kernel_limit", 1312, true, {}};
  return parsed(RecordWriter("n1", "", "i").line(record, 2));
}

/// As the option's values are given.
template <class T>
Wanted<T> wanted(Result<T> (*parse)(std::string_view), const std::vector<std::string>& texts) {
  Wanted<T> values;
  for (const std::string& text : texts) {
    const bool excludes = text.starts_with('!');
    (excludes ? values.none : values.any).push_back(parse(std::string_view(text).substr(excludes ? 1 : 0)).value());
  }
  return values;
}

TEST(EndpointFilter, TakesPodsWorkloadsNamespacesAddressesAndBlocks) {
  const LoggedLine record = line();
  const auto fits = [&](const char* text) {
    const auto filter = parse_endpoint_filter(text);
    EXPECT_TRUE(filter) << text;
    return filter && filter->fits(record.source);
  };
  for (const char* text : {"shop/web-1", "shop/web", "shop/", "10.0.1.5", "10.0.1.0/24", "0.0.0.0/0", "10.0.1.77/24"})
    EXPECT_TRUE(fits(text)) << text;
  for (const char* text : {"shop/we", "shop/web-2", "sho/", "db/", "10.0.1.6", "10.0.2.0/24", "::/0"}) {
    EXPECT_FALSE(fits(text)) << text;
  }
}

TEST(EndpointFilter, SaysWhatItTakes) {
  for (const char* text :
       {"", "web", "/web", "a/b/c", "10.0.1", "10.0.0.0/33", "fd00::/129", "Shop/web", "shop/w b", "!"}) {
    const auto filter = parse_endpoint_filter(text);
    ASSERT_FALSE(filter) << text;
    EXPECT_NE(filter.error().what().find("is none of namespace/pod"), std::string::npos) << filter.error().what();
  }
}

TEST(EndpointFilter, TakesLabelsThatThePodHas) {
  FlowRecord record = denied();
  const auto fits = [&](const char* text) {
    const auto filter = parse_endpoint_filter(text);
    EXPECT_TRUE(filter) << text;
    return filter && filter->fits(line(record).source);
  };
  EXPECT_FALSE(fits("app=web")) << "the record holds none";
  record.source.k8s.labels = Labels{{"app", "web"}, {"k8s.io/tier", ""}};
  for (const char* text : {"app=web", "app=web,k8s.io/tier=", "k8s.io/tier="}) EXPECT_TRUE(fits(text)) << text;
  for (const char* text : {"app=", "app=we", "k8s.io/tier=web", "App=web", "app=web,app=db", "tier="})
    EXPECT_FALSE(fits(text)) << text;
  for (const char* text : {"=", "=web", "app==", "app=web,", ",app=web", "a b=c", "app=w b", "/app=web", "app=-"}) {
    EXPECT_FALSE(parse_endpoint_filter(text)) << text;
  }
}

TEST(Filter, ByLabelExcludesOnlyWhatARecordSays) {
  FlowRecord record = denied();
  record.source.k8s.labels = Labels{{"app", "web"}};
  const auto matches = [&](const std::vector<std::string>& from, const std::vector<std::string>& to) {
    Filter filter;
    filter.from = wanted(parse_endpoint_filter, from);
    filter.to = wanted(parse_endpoint_filter, to);
    return filter.matches(line(record));
  };
  EXPECT_TRUE(matches({"app=web"}, {}));
  EXPECT_TRUE(matches({"app=db", "shop/"}, {"!app=pg"}));
  EXPECT_FALSE(matches({"!app=web"}, {}));
  EXPECT_FALSE(matches({"shop/", "!app=web"}, {}));
  EXPECT_FALSE(matches({}, {"app=pg"})) << "the destination's labels are not in the record";
  Filter filter;
  filter.from = wanted(parse_endpoint_filter, {"app=web", "!b=1,a=2"});
  filter.to = wanted(parse_endpoint_filter, {"db/", "a=3"});
  EXPECT_EQ(filter.label_keys(), (std::vector<std::string>{"a", "app", "b"}));
}

TEST(PortFilter, TakesANumberOrAName) {
  const LoggedLine record = line();
  EXPECT_TRUE(parse_port_filter("5432")->fits(record.destination));
  EXPECT_TRUE(parse_port_filter("postgres")->fits(record.destination));
  EXPECT_FALSE(parse_port_filter("5433")->fits(record.destination));
  EXPECT_FALSE(parse_port_filter("http")->fits(record.destination));
  for (const char* text : {"", "0", "65536", "99999999999", "-1", "80-90", "a_b", "!80", "8 0"})
    EXPECT_FALSE(parse_port_filter(text)) << text;
}

TEST(PolicyFilter, TakesANameWithOrWithoutItsNamespace) {
  const PolicyRef policy{"db", "allow-api", "u", 4};
  for (const char* text : {"db/allow-api", "db/", "allow-api"})
    EXPECT_TRUE(parse_policy_filter(text)->fits(policy)) << text;
  for (const char* text : {"shop/allow-api", "shop/", "allow", "db"})
    EXPECT_FALSE(parse_policy_filter(text)->fits(policy)) << text;
  for (const char* text : {"", "/", "/x", "a/b/c", "A/b"}) EXPECT_FALSE(parse_policy_filter(text)) << text;
}

TEST(WordFilters, TakeTheWordsOfTheSchemaAndListThem) {
  for (const auto verdict : {Verdict::deny, Verdict::error}) EXPECT_TRUE(parse_verdict(name_of(verdict)));
  for (const auto reason : {Reason::default_deny, Reason::fail_closed, Reason::spoofed_source, Reason::unattributed}) {
    EXPECT_TRUE(parse_reason(name_of(reason))) << name_of(reason);
  }
  EXPECT_EQ(parse_verdict("dropped").error().what(),
            "'dropped' is no verdict: give one of allow, deny, would_allow, would_deny, error");
  EXPECT_NE(parse_reason("").error().what().find("default_deny, explicit_deny"), std::string::npos);
}

/// A filter for which the example holds in every condition.
Filter every_condition() {
  Filter filter;
  filter.verdict.any = {"deny"};
  filter.reason.any = {"fail_closed", "default_deny"};
  filter.from = wanted(parse_endpoint_filter, {"x/", "shop/web"});
  filter.to = wanted(parse_endpoint_filter, {"10.0.2.9"});
  filter.port = wanted(parse_port_filter, {"80", "5432"});
  filter.policy = wanted(parse_policy_filter, {"db/deny-all"});
  filter.since = at("2026-11-23T17:30:04Z");
  filter.until = at("2026-11-23T17:30:00.123456Z");
  return filter;
}

TEST(Filter, EveryConditionMustHold) {
  const LoggedLine record = line();
  EXPECT_TRUE(Filter{}.matches(record));
  EXPECT_FALSE(Filter{}.narrows());
  const Filter filter = every_condition();
  EXPECT_TRUE(filter.matches(record));
  EXPECT_TRUE(filter.narrows());
  const auto with = [&](auto change) {
    Filter other = filter;
    change(other);
    return other.matches(record);
  };
  EXPECT_FALSE(with([](Filter& f) { f.verdict.any = {"allow"}; }));
  EXPECT_FALSE(with([](Filter& f) { f.reason.any = {"fail_closed"}; }));
  EXPECT_FALSE(with([](Filter& f) { f.from = wanted(parse_endpoint_filter, {"db/"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.to = wanted(parse_endpoint_filter, {"shop/"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.port = wanted(parse_port_filter, {"5433"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.policy = wanted(parse_policy_filter, {"shop/deny-all"}); }));
  EXPECT_TRUE(with([](Filter& f) { f.policy = wanted(parse_policy_filter, {"allow-api"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.since = at("2026-11-23T17:30:04.000001Z"); }));
  EXPECT_FALSE(with([](Filter& f) { f.until = at("2026-11-23T17:30:00.123455Z"); }));
}

TEST(Filter, AnExclamationMarkExcludes) {
  const LoggedLine record = line();
  const auto with = [&](auto change) {
    Filter other;
    change(other);
    EXPECT_TRUE(other.narrows());
    return other.matches(record);
  };
  EXPECT_FALSE(with([](Filter& f) { f.from = wanted(parse_endpoint_filter, {"shop/", "!shop/web"}); }));
  EXPECT_TRUE(with([](Filter& f) { f.from = wanted(parse_endpoint_filter, {"shop/", "!shop/api", "!10.9.0.0/16"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.to = wanted(parse_endpoint_filter, {"!10.0.0.0/8"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.port = wanted(parse_port_filter, {"!80", "!postgres"}); }));
  EXPECT_TRUE(with([](Filter& f) { f.port = wanted(parse_port_filter, {"!80"}); }));
  EXPECT_FALSE(with([](Filter& f) { f.verdict.none = {"deny"}; }));
  EXPECT_FALSE(with([](Filter& f) { f.reason.none = {"default_deny"}; }));
  EXPECT_FALSE(with([](Filter& f) { f.policy = wanted(parse_policy_filter, {"!deny-all"}); }));
}

TEST(Filter, WhatARecordDoesNotSayIsNeverExcluded) {
  FlowRecord record;
  record.time = record.end = at("2026-11-23T17:30:00Z");
  Filter filter;
  filter.from = wanted(parse_endpoint_filter, {"!shop/", "!0.0.0.0/0"});
  filter.to = filter.from;
  filter.port = wanted(parse_port_filter, {"!80"});
  filter.policy = wanted(parse_policy_filter, {"!db/"});
  EXPECT_TRUE(filter.matches(line(record)));
  filter.from = wanted(parse_endpoint_filter, {"0.0.0.0/0"});
  EXPECT_FALSE(filter.matches(line(record)));
}

TEST(Filter, LossesAreAlwaysShownBecauseTheyMayBeWhatWasLookedFor) {
  Filter filter = every_condition();
  EXPECT_TRUE(filter.matches(loss()));
  filter.since = at("2026-11-23T18:00:00Z");
  EXPECT_FALSE(filter.matches(loss()));
}

TEST(Filter, AgentRecordsAreShownWhereOnlyTheTimeIsAskedFor) {
  const AgentRecord record{at("2026-11-23T17:30:00Z"), "start", "", {}, {}};
  const LoggedLine start = parsed(RecordWriter("n1", "", "i").line(record, 2));
  Filter filter;
  filter.since = at("2026-11-23T17:00:00Z");
  EXPECT_TRUE(filter.matches(start));
  filter.verdict.any = {"deny"};
  EXPECT_FALSE(filter.matches(start));
}

TEST(Filter, ADetectionHasEndsButNoVerdict) {
  DetectionRecord record{at("2026-11-23T17:30:00Z"), "port_scan", Severity::high, denied().source,
                         denied().destination};
  const LoggedLine scan = parsed(RecordWriter("n1", "", "i").line(record, 2));
  Filter filter;
  filter.from = wanted(parse_endpoint_filter, {"shop/"});
  EXPECT_TRUE(filter.matches(scan));
  filter.from = wanted(parse_endpoint_filter, {"!shop/"});
  EXPECT_FALSE(filter.matches(scan));
  filter.from = {};
  filter.verdict.any = {"deny"};
  EXPECT_FALSE(filter.matches(scan));
}

}  // namespace
}  // namespace podfence::flow
