#include "entrain/eval/prompt.h"

#include <gtest/gtest.h>

namespace entrain::eval {
namespace {

TEST(Stripped, RemovesUnicodeWhiteSpace) {
  EXPECT_EQ(stripped_right("a b \n\t\u00a0\u3000\u2009"), "a b");
  EXPECT_EQ(stripped(" \u2003\x1c" "a b\r\n"), "a b");
  EXPECT_EQ(stripped(" \n "), "");
  EXPECT_EQ(stripped("\u00e0"), "\u00e0") << "ends in byte a0, which is no white space by itself";
}

TEST(Characters, AreCodePoints) {
  EXPECT_EQ(n_characters("a\u00e9\u65e5\U0001f600"), 4);
  EXPECT_EQ(n_characters(""), 0);
}

TEST(Text, IsRewrittenAsPythonDoes) {
  EXPECT_EQ(capitalized("the USA"), "The usa");
  EXPECT_EQ(replaced("aaaa", "aa", "a"), "aa");
  EXPECT_EQ(replaced("a.. b.. ", ".. ", ". "), "a. b. ");
}

// Printed by Python 3.11: random.Random(seed).getrandbits(32), .sample(range(n), k). 85 is the largest population that takes the pool's way for k = 6.
TEST(PythonRandom, DrawsWhatPythonDraws) {
  PythonRandom zero(0);
  EXPECT_EQ(zero.next(), 3626764237u);
  EXPECT_EQ(zero.next(), 1654615998u);
  PythonRandom random(1234);
  const std::vector<std::pair<std::pair<int64_t, int64_t>, std::vector<int64_t>>> draws{
      {{7473, 5}, {6374, 3610, 957, 61, 742}}, {{10, 3}, {9, 0, 1}}, {{84, 6}, {12, 45, 30, 2, 3, 80}}, {{85, 6}, {44, 82, 79, 61, 78, 59}}, {{86, 6}, {19, 11, 23, 14, 1, 64}}};
  for (const auto& [sizes, expected] : draws) EXPECT_EQ(random.sample(sizes.first, sizes.second), expected) << sizes.first;
}

}  // namespace
}  // namespace entrain::eval
