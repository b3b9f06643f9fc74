#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/numbers.h"
#include "family_properties.h"

namespace entrain::reasoning {
namespace {

const std::unique_ptr<Family> kArithmetic = make_arithmetic();

TEST(Numbers, DigitByDigit) {
  EXPECT_EQ(in_figures(0), "0");
  EXPECT_EQ(in_figures(1905), "1 9 0 5");
  EXPECT_EQ(in_words(17), "one seven");
  EXPECT_EQ(digit_value("7"), 7);
  EXPECT_EQ(digit_value("17"), -1);
  EXPECT_EQ(digit_value(""), -1);
  EXPECT_EQ(digit_value("+"), -1);
}

TEST(Arithmetic, ByHand) {
  expect_solved(*kArithmetic, "1 7 + 5 ≡ 2 2 ?", "●");
  expect_solved(*kArithmetic, "1 7 + 5 ≡ 2 mod 1 0 ?", "●");
  expect_solved(*kArithmetic, "1 7 + 5 ≡ 2 ?", "⊥");
  expect_solved(*kArithmetic, "1 7 + 5 ≡ 3 2 mod 1 0 ?", "●");
  expect_solved(*kArithmetic, "9 9 9 + 1 ≡ 1 0 0 0 ?", "●");
  expect_solved(*kArithmetic, "9 9 9 + 1 ≡ 1 0 0 ?", "⊥");
  expect_solved(*kArithmetic, "1 7 - 5 < 8 + 9 ?", "●");
  expect_solved(*kArithmetic, "1 7 < 8 + 9 ?", "⊥");
  expect_solved(*kArithmetic, "1 7 > 8 + 9 ?", "⊥");
  expect_solved(*kArithmetic, "5 - 1 7 < 0 ?", "●");
  expect_solved(*kArithmetic, "1 0 0 - 1 > 8 9 ?", "●");
  expect_solved(*kArithmetic, "2 0 ≡ 3 mod 7 ?", "⊥");
}

TEST(Arithmetic, Properties) { expect_properties(*kArithmetic, 40); }

/// Kinds, carries and wrong values that the last digit does not betray all occur.
TEST(Arithmetic, NoColumnAloneTells) {
  int n_false = 0, n_same_last_digit = 0, n_near = 0;
  std::set<std::string> relations;
  for (uint64_t i = 0; i < 4000; ++i) {
    RandomStream random = stream(3, "columns", i);
    for (const Item& item : kArithmetic->draw(random, {.depth = 3})) {
      const auto step = split_symbols(item.steps.back());  // "2 2 ≡ 2 3"
      for (const char* relation : {"≡", "<", ">", "mod"}) {
        if (item.symbolic.find(std::string(" ") + relation + " ") != std::string::npos) relations.insert(relation);
      }
      const auto equal = std::find(step.begin(), step.end(), "≡");
      if (item.answer == kTrue || equal == step.end() || item.symbolic.find("mod") != std::string::npos) continue;
      const auto number = [](auto from, auto to) { return std::stoll(join(std::vector<std::string>(from, to), "")); };
      const int64_t left = number(step.begin(), equal), right = number(equal + 1, step.end());
      ++n_false;
      if ((left - right) % 10 == 0) ++n_same_last_digit;
      if (std::abs(left - right) < 20) ++n_near;
    }
  }
  EXPECT_EQ(relations.size(), 4u);
  EXPECT_GT(n_false, 1000);
  EXPECT_GT(n_same_last_digit, n_false / 4);
  EXPECT_GT(n_near, n_false / 5);
}

TEST(Arithmetic, RejectsOtherTexts) {
  for (const char* text : {"", "1 + ≡ 2 ?", "1 + 1 2 ?", "1 ≡ 1 mod 0 ?", "a + 1 ≡ 2 ?", "[ MAX 2 4 ] ≡ 4 ?"}) expect_rejected(*kArithmetic, text);
}

TEST(Arithmetic, EnglishMeansTheSame) {
  expect_english_means_the_same(*kArithmetic, {{"Is", ""}, {"plus", "+"}, {"minus", "-"}, {"less than", "<"}, {"greater than", ">"}, {"equal to", "≡"}, {"modulo", "mod"}});
}

}  // namespace
}  // namespace entrain::reasoning
