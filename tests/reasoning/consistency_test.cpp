#include "family_properties.h"

namespace entrain::reasoning {
namespace {

TEST(Consistency, Properties) { expect_properties(family("consistency"), 85, 60); }

TEST(Consistency, SolvesByHand) {
  const Family& consistency = family("consistency");
  expect_solved(consistency, "A ∨ B ; ¬ A ; ¬ B ? ∃", kFalse);
  expect_solved(consistency, "A ∨ B ; ¬ A ; B ? ∃", kTrue);
  expect_solved(consistency, "A ∨ B ; ¬ A ∨ B ; A ∨ ¬ B ; ¬ A ∨ ¬ B ? ∃", kFalse);
  expect_solved(consistency, "A ∨ B ; ¬ A ∨ B ; A ∨ ¬ B ? ∃", kTrue);
  expect_solved(consistency, "A ∨ B ∨ C ; ¬ A ; ¬ B ; ¬ C ? ∃", kFalse);
  expect_solved(consistency, "P ; ¬ P ? ∃", kFalse);
  expect_solved(consistency, "P ; Q ? ∃", kTrue);
}

TEST(Consistency, RejectsOtherTexts) {
  for (const std::string text : {"", "A ∨ B", "A ∨ B ? A", "A B ? ∃", "A ∧ B ? ∃", "¬ ¬ A ? ∃", "A ∨ ; B ? ∃"}) {
    expect_rejected(family("consistency"), text);
  }
}

TEST(Consistency, UsesAllVariablesAndShortSearches) {
  for (int64_t depth = 1; depth <= 8; ++depth) {
    RandomStream random = stream(1, "variables", static_cast<uint64_t>(depth));
    for (const Item& item : family("consistency").draw(random, {.depth = depth})) {
      std::set<std::string> letters;
      for (const std::string& symbol : split_symbols(item.symbolic)) {
        if (symbol.size() == 1 && symbol[0] >= 'A' && symbol[0] <= 'Z') letters.insert(symbol);
      }
      EXPECT_EQ(letters.size(), static_cast<size_t>(depth) + 2);
      EXPECT_LE(item.steps.size(), 2 * (static_cast<size_t>(depth) + 2));
      EXPECT_EQ(item.steps.back() == kFalse, item.answer == kFalse);
    }
  }
}

TEST(Consistency, HasManyStructures) {
  EXPECT_GT(n_forms(family("consistency"), 1, 1000), 1500u);
  for (const int64_t depth : {2, 5, 8}) EXPECT_GT(n_forms(family("consistency"), depth, 1000), 1950u) << depth;
}

}  // namespace
}  // namespace entrain::reasoning
