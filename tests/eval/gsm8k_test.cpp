#include "entrain/eval/gsm8k.h"

#include <gtest/gtest.h>

namespace entrain::eval {
namespace {

TEST(StrictMatch, TakesTheFirstMarkedNumber) {
  EXPECT_EQ(strict_match("so 3 + 4 = 7\n#### 7\n\n#### 8"), "7");
  EXPECT_EQ(strict_match("#### -1,234.50 apples"), "-1,234.50");
  EXPECT_EQ(strict_match("#### about 5, #### 6."), "6.");
  EXPECT_EQ(strict_match("#### $5"), "[invalid]");
  EXPECT_EQ(strict_match("####5"), "[invalid]");
  EXPECT_EQ(strict_match("##### 9"), "9");
  EXPECT_EQ(strict_match("#### -"), "[invalid]");
  EXPECT_EQ(strict_match(""), "[invalid]");
}

// Values of Python's re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)[-1], the group that is not empty.
TEST(FlexibleExtract, TakesTheLastNumber) {
  EXPECT_EQ(flexible_extract("first 12 then $30."), "$30.");
  EXPECT_EQ(flexible_extract("it is 7 or -8"), "-8");
  EXPECT_EQ(flexible_extract("7 days."), "7");
  EXPECT_EQ(flexible_extract("5 - 3"), "3");
  EXPECT_EQ(flexible_extract("a--45"), "-45");
  EXPECT_EQ(flexible_extract("well... no"), "...");
  EXPECT_EQ(flexible_extract("wait, what."), "[invalid]");
  EXPECT_EQ(flexible_extract("-$"), "[invalid]");
}

TEST(SameAnswer, ForgivesFormOnly) {
  const char* solution = "one, two.\n#### 1,200";
  EXPECT_TRUE(same_answer("1200", solution));
  EXPECT_TRUE(same_answer("$1,200.", solution));
  EXPECT_FALSE(same_answer("1200.0", solution));
  EXPECT_FALSE(same_answer("1200..", solution));
  EXPECT_FALSE(same_answer("[invalid]", solution));
  EXPECT_TRUE(same_answer("Yes", "work #### no #### yes."));
}

}  // namespace
}  // namespace entrain::eval
