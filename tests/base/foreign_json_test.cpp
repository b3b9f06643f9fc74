#include "entrain/base/foreign_json.h"

#include <gtest/gtest.h>

#include <string>

namespace entrain {
namespace {

std::string nested(int depth, const std::string& inside = "") { return std::string(static_cast<size_t>(depth), '[') + inside + std::string(static_cast<size_t>(depth), ']'); }

TEST(ForeignJson, IsTheDocument) {
  EXPECT_EQ(parse_foreign<Json>(R"({"b": [1, {"a": "x"}]})"), Json::parse(R"({"b": [1, {"a": "x"}]})"));
  EXPECT_EQ(parse_foreign<OrderedJson>(R"({"b": 1, "a": 2})").dump(), R"({"b":1,"a":2})");
  for (const char* text : {"", "{", "[1,]", "\"", "\"\\", "]"}) EXPECT_THROW(parse_foreign<Json>(text), Json::parse_error) << text;
}

TEST(ForeignJson, DeepNestingIsRefused) {
  EXPECT_EQ(parse_foreign<Json>(nested(kMaxJsonDepth)), Json::parse(nested(kMaxJsonDepth)));
  EXPECT_THROW(parse_foreign<Json>(nested(kMaxJsonDepth + 1)), Json::parse_error);
  EXPECT_THROW(parse_foreign<Json>(R"({"a": )" + nested(kMaxJsonDepth) + "}"), Json::parse_error);
  EXPECT_THROW(parse_foreign<OrderedJson>(std::string(10'000'000, '[')), Json::parse_error);
  EXPECT_EQ(parse_foreign<Json>("[" + nested(kMaxJsonDepth - 1) + "," + nested(kMaxJsonDepth - 1) + "]").size(), 2u);
  const std::string text = std::string(1000, '[') + "\\\"" + std::string(1000, '{');  // brackets and quotes of a text nest nothing
  EXPECT_EQ(parse_foreign<Json>(nested(kMaxJsonDepth, "\"" + text + "\"")), Json::parse(nested(kMaxJsonDepth, "\"" + text + "\"")));
}

}  // namespace
}  // namespace entrain
