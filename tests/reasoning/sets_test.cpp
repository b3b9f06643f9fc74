#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "family_properties.h"

namespace entrain::reasoning {
namespace {

const std::unique_ptr<Family> kSets = make_sets();

TEST(Sets, ByHand) {
  expect_solved(*kSets, "3 ∈ ( { 1 3 } ∪ { 2 } ) \\ { 3 } ?", "⊥");
  expect_solved(*kSets, "1 ∈ ( { 1 3 } ∪ { 2 } ) \\ { 3 } ?", "●");
  expect_solved(*kSets, "3 ∈ { 1 3 } ∩ { 3 5 } ?", "●");
  expect_solved(*kSets, "1 ∈ { 1 3 } ∩ { 3 5 } ?", "⊥");
  expect_solved(*kSets, "0 ∈ { 1 } \\ ( { 2 } ∪ { 0 } ) ?", "⊥");
  // Differences do not associate.
  expect_solved(*kSets, "7 ∈ ( { 7 } \\ { 7 } ) \\ { 7 } ?", "⊥");
  expect_solved(*kSets, "7 ∈ { 7 } \\ ( { 7 } \\ { 7 } ) ?", "●");
}

TEST(Sets, Properties) { expect_properties(*kSets, 70); }

TEST(Sets, StepsSayWhereTheElementIsFromTheInsideOut) {
  RandomStream random(9);
  for (int64_t depth = 1; depth <= kSets->max_depth(); ++depth) {
    for (const Item& item : kSets->draw(random, {.depth = depth})) {
      const std::string element = split_symbols(item.symbolic)[0];
      for (const std::string& step : item.steps) {
        const auto symbols = split_symbols(step);
        if (symbols[0] == "{") {
          const std::string set = step.substr(0, step.find(" : "));
          EXPECT_NE(item.symbolic.find(set), std::string::npos) << step;
          expect_solved(*kSets, element + " ∈ " + set + " ∪ " + set + " ?", symbols.back());
        } else {
          const auto part = [&](const std::string& value) { return value == kTrue ? "{ " + element + " }" : "{ " + std::string(element == "0" ? "1" : "0") + " }"; };
          expect_solved(*kSets, element + " ∈ " + part(symbols[0]) + " " + symbols[1] + " " + part(symbols[2]) + " ?", symbols.back());
        }
      }
      EXPECT_TRUE(item.steps.back().ends_with(" : " + item.answer));
    }
  }
}

TEST(Sets, DepthIsTheNestingOfParentheses) {
  for (int64_t depth = 1; depth <= kSets->max_depth(); ++depth) {
    for (uint64_t i = 0; i < 200; ++i) {
      RandomStream random = stream(1, "nesting", i);
      for (const Item& item : kSets->draw(random, {.depth = depth})) {
        int64_t open = 0, deepest = 0;
        for (const std::string& symbol : split_symbols(item.symbolic)) {
          open += symbol == "(" ? 1 : symbol == ")" ? -1 : 0;
          deepest = std::max(deepest, open);
        }
        EXPECT_EQ(deepest, depth) << item.symbolic;
      }
    }
  }
}

TEST(Sets, CanonicalFormForgetsOrderWhereItDoesNotMatter) {
  // All draws of one canonical form have one answer.
  std::map<std::string, std::string> answers;
  size_t n_items = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    RandomStream random = stream(2, "canonical", i);
    for (const Item& item : kSets->draw(random, {.depth = 1})) {
      ++n_items;
      const auto [at, is_new] = answers.emplace(item.canonical, item.answer);
      EXPECT_EQ(at->second, item.answer) << item.symbolic;
    }
  }
  EXPECT_LT(answers.size(), n_items);         // some structures come twice ...
  EXPECT_GT(answers.size(), n_items * 9 / 10);  // ... few do
}

TEST(Sets, RejectsOtherTexts) {
  for (const char* text : {"", "?", "3 ∈ ?", "3 ∈ { 1", "3 ∈ { 1 } ∪ ?", "3 ∈ { 1 } + { 2 } ?", "P → Q ; P : ● ? Q", "x ∈ { 1 } ∪ { 2 }"}) expect_rejected(*kSets, text);
}

TEST(Sets, EnglishMeansTheSame) {
  Phrases phrases = {{"Is", ""}, {"in common with", "∩"}, {"in", "∈"}, {"joined with", "∪"}, {"without", "\\"}, {"and", ""}};
  for (const auto& [word, digit] : kDigitWords) {  // parentheses around numbers are braces
    phrases.emplace_back("( " + word, "{ " + digit);
    phrases.emplace_back(word + " )", digit + " }");
    phrases.emplace_back("{ " + digit + " )", "{ " + digit + " }");
  }
  expect_english_means_the_same(*kSets, phrases);
}

}  // namespace
}  // namespace entrain::reasoning
