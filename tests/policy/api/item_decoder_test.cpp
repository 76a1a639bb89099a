#include "policy/api/item_decoder.h"

#include <gtest/gtest.h>

namespace podfence::api {
namespace {

constexpr const char* pod =
    R"({"metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"7","labels":{"app":"web"}},)"
    R"("spec":{"nodeName":"n1"},"status":{"phase":"Running","podIP":"10.0.0.1"}})";

TEST(ItemDecoder, an_item_is_named_first_and_read_when_it_is_wanted) {
  ItemDecoder decoder(Kind::pod);
  const auto head = decoder.item(pod);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->namespace_ + "/" + head->name + " " + head->uid + " " + head->resource_version, "shop/web u1 7");
  const auto decoded = decoder.read();
  ASSERT_EQ(decoded.objects.size(), 1U);
  // The same as from a manifest, which says what it is.
  const auto manifest = decode_json("a", std::string(R"({"kind":"Pod","apiVersion":"v1",)") + (pod + 1));
  ASSERT_TRUE(manifest);
  EXPECT_EQ(decoded.objects, manifest->objects);
}

TEST(ItemDecoder, a_namespace_or_a_node_has_no_namespace) {
  ItemDecoder decoder(Kind::namespace_);
  EXPECT_EQ(decoder.item(R"({"metadata":{"name":"shop","namespace":"x"}})")->namespace_, "");
  ItemDecoder of_pods(Kind::pod);
  EXPECT_EQ(of_pods.item(R"({"metadata":{"name":"web"}})")->namespace_, "default") << "as it is read";
}

TEST(ItemDecoder, events) {
  ItemDecoder decoder(Kind::pod);
  const auto event = [&](const std::string& type, const std::string& object) {
    return decoder.event(R"({"type":")" + type + R"(","object":)" + object + "}");
  };
  EXPECT_EQ(event("ADDED", pod)->type, EventType::added);
  EXPECT_EQ(event("MODIFIED", pod)->type, EventType::modified);
  EXPECT_EQ(event("DELETED", pod)->head.name, "web");
  EXPECT_EQ(event("MOVED", pod)->type, EventType::unknown);
  EXPECT_EQ(event("ADDED", R"({"kind":"Secret"})")->type, EventType::unknown);
  const auto mark =
      event("BOOKMARK",
            R"({"kind":"Pod","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}})");
  EXPECT_EQ(mark->type, EventType::bookmark);
  EXPECT_EQ(mark->head.resource_version, "9");
  EXPECT_TRUE(mark->ends_initial_events);
  EXPECT_FALSE(event("BOOKMARK", R"({"kind":"Pod","metadata":{"resourceVersion":"9"}})")->ends_initial_events);
  for (const char* wrong :
       {"", "[]", "{}", R"({"type":"ADDED"})", R"({"type":1,"object":{}})", R"({"type":"ADDED",)"}) {
    EXPECT_FALSE(decoder.event(wrong)) << wrong;
  }
}

TEST(ItemDecoder, statuses_and_errors) {
  const std::string text =
      R"({"kind":"Status","code":504,"reason":"Timeout","message":"m","details":{"retryAfterSeconds":3,)"
      R"("causes":[{"reason":"ResourceVersionTooLarge"}]}})";
  ItemDecoder decoder(Kind::pod);
  const auto event = decoder.event(R"({"type":"ERROR","object":)" + text + "}");
  ASSERT_TRUE(event);
  for (const auto& status : {event->status, *decode_status(text)}) {
    EXPECT_EQ(status.code, 504);
    EXPECT_EQ(status.reason, "Timeout");
    EXPECT_EQ(status.message, "m");
    EXPECT_EQ(status.retry_after_seconds, 3U);
    EXPECT_EQ(status.causes, std::vector<std::string>{"ResourceVersionTooLarge"});
  }
  for (const char* none : {"404 page not found", "{}", "", R"({"kind":"Pod","code":404})"}) {
    EXPECT_FALSE(decode_status(none)) << none;
  }
}

TEST(ItemDecoder, the_metadata_of_a_list) {
  const auto meta = decode_list_meta(R"({"resourceVersion":"12","continue":"abc","remainingItemCount":7})");
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->resource_version + meta->next_page, "12abc");
  EXPECT_EQ(meta->remaining, 7U);
  EXPECT_EQ(decode_list_meta(R"({"remainingItemCount":-1})")->remaining, 0U);
  EXPECT_FALSE(decode_list_meta(""));
  EXPECT_FALSE(decode_list_meta("null"));
}

TEST(ItemDecoder, what_is_invalid_is_narrowed_or_left_out) {
  ItemDecoder decoder(Kind::pod);
  ASSERT_TRUE(decoder.item(R"({"metadata":{"name":"web","namespace":"shop"},"status":{"podIP":"nowhere"}})"));
  EXPECT_TRUE(decoder.read().has_errors());
  ASSERT_TRUE(decoder.item(R"({"metadata":{"name":"web","name":"db","namespace":"shop"}})"));
  const auto twice = decoder.read();
  EXPECT_TRUE(twice.has_errors());
  EXPECT_TRUE(twice.objects.empty());
  EXPECT_FALSE(decoder.item(R"({"kind":"Node","metadata":{"name":"n"}})")) << "another kind";
  EXPECT_FALSE(decoder.item("[1]"));
  EXPECT_FALSE(decoder.item(std::string(70, '[') + std::string(70, ']'))) << "too deep";
}

TEST(ItemDecoder, a_text_that_was_long_does_not_keep_its_memory_or_its_content) {
  ItemDecoder decoder(Kind::pod);
  ASSERT_TRUE(decoder.item(R"({"metadata":{"name":"big"},"x":")" + std::string(std::size_t{6} << 20U, 'x') + "\"}"));
  const auto head = decoder.item(pod);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->name, "web");
}

}  // namespace
}  // namespace podfence::api
