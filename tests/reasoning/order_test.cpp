#include "family_properties.h"

namespace entrain::reasoning {
namespace {

TEST(Order, Properties) { expect_properties(family("order"), 70, 40); }

TEST(Order, StepsAreGivenOrFollow) {
  const Family& order = family("order");
  RandomStream random(5);
  for (int64_t depth = 1; depth <= 6; ++depth) {
    for (const Item& item : order.draw(random, {.depth = depth})) {
      const std::string given = split_at(item.symbolic, "?")[0];
      for (const std::string& step : item.steps) {
        if (step.find("◑") == std::string::npos) expect_solved(order, given + " ? " + step, kTrue);
      }
    }
  }
}

TEST(Order, SolvesByHand) {
  const Family& order = family("order");
  expect_solved(order, "a < b ; b < c ? a < c", kTrue);
  expect_solved(order, "a < b ; b < c ? c < a", kFalse);
  expect_solved(order, "a < b ; c > b ? a < c", kTrue);
  expect_solved(order, "a < b ; c > b ? c > a", kTrue);
  expect_solved(order, "a < b ; a < c ? b < c", kUncertain);
  expect_solved(order, "a < b ; c < b ? a < c", kUncertain);
  expect_solved(order, "a < b ; c < d ? a < d", kUncertain);
  // ≤ does not make <, and rules its contrary out.
  expect_solved(order, "a ≤ b ; b ≤ c ? a < c", kUncertain);
  expect_solved(order, "a ≤ b ; b ≤ c ? a ≤ c", kTrue);
  expect_solved(order, "a ≤ b ; b ≤ c ? c < a", kFalse);
  expect_solved(order, "a ≤ b ; b < c ? a < c", kTrue);
  expect_solved(order, "a ≤ b ; b < c ? c ≤ a", kFalse);
  expect_solved(order, "a ≤ b ; b ≤ c ? c ≤ a", kUncertain);
  expect_solved(order, "a ≤ b ; b ≤ a ? a < b", kFalse);
}

TEST(Order, RejectsOtherTextsAndContradictions) {
  for (const std::string text : {"", "a < b", "a < b ? a", "a ≡ b ? a < b", "a < b ; b < a ? a < b", "a < b ; b ≤ a ? a < b"}) {
    expect_rejected(family("order"), text);
  }
}

TEST(Order, AskedNamesNeverStandInOneComparisonOfALongChain) {
  for (uint64_t i = 0; i < 100; ++i) {
    RandomStream random = stream(3, "near", i);
    for (const Item& item : family("order").draw(random, {.depth = 2 + static_cast<int64_t>(i % 11)})) {
      const auto halves = split_at(item.symbolic, "?");
      const std::string asked = sorted_symbols(split_symbols(halves[1])[0] + " " + split_symbols(halves[1])[2]);
      for (const std::string& statement : split_at(halves[0], ";")) {
        EXPECT_NE(sorted_symbols(split_symbols(statement)[0] + " " + split_symbols(statement)[2]), asked) << item.symbolic;
      }
    }
  }
}

TEST(Order, HasManyStructures) {
  for (const int64_t depth : {1, 4, 12}) EXPECT_GT(n_forms(family("order"), depth, 1000), 2900u) << depth;
}

TEST(Order, EnglishSaysTheSame) {
  // Read back: "Ann is below Bo . Cy is not above Dan . Is Ann above Dan ?"
  for (uint64_t i = 0; i < 50; ++i) {
    RandomStream random = stream(2, "english", i);
    for (const Item& item : family("order").draw(random, {.depth = 1 + static_cast<int64_t>(i % 6)})) {
      std::vector<std::string> statements;
      for (const std::string& sentence : split_at(item.english, ".")) {
        auto words = split_symbols(sentence);
        const bool asks = words.back() == "?";
        std::erase_if(words, [](const std::string& word) { return word == "?" || word == "is" || word == "Is"; });
        const std::string sign = words[1] == "below" ? " < " : words[1] == "above" ? " > " : " ≤ ";
        statements.push_back((asks ? "? " : "") + words.front() + sign + words.back());
      }
      const std::string asked = statements.back();
      statements.pop_back();
      EXPECT_EQ(family("order").solve(question(join(statements, " ; ") + " " + asked)), item.answer) << item.english;
    }
  }
}

}  // namespace
}  // namespace entrain::reasoning
