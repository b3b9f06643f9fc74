#include "family_properties.h"

namespace entrain::reasoning {
namespace {

TEST(Chains, Properties) { expect_properties(family("chains"), 95, 40); }

TEST(Chains, SolvesByHand) {
  const Family& chains = family("chains");
  expect_solved(chains, "P → Q ; P : ● ? Q", kTrue);
  expect_solved(chains, "P → Q ; Q → R ; P : ● ? R", kTrue);
  expect_solved(chains, "P → Q ; Q : ⊥ ? P", kFalse);        // tollens
  expect_solved(chains, "P → Q ; Q : ● ? P", kUncertain);    // the consequent affirmed
  expect_solved(chains, "P → Q ; P : ⊥ ? Q", kUncertain);    // the antecedent denied
  expect_solved(chains, "P → Q ; R → S ; P : ● ? S", kUncertain);
  expect_solved(chains, "P → Q ; P : ● ? Z", kUncertain);    // never mentioned
  expect_solved(chains, "P → ¬ Q ; P : ● ? Q", kFalse);
  expect_solved(chains, "¬ P → Q ; Q : ⊥ ? P", kTrue);
  expect_solved(chains, "¬ P → ¬ Q ; Q : ● ? P", kTrue);
  // By cases: nothing is propagated from the facts alone.
  expect_solved(chains, "P → Q ; ¬ P → Q ; R : ● ? Q", kTrue);
  expect_solved(chains, "P → ¬ P ; R : ● ? P", kFalse);
}

TEST(Chains, RejectsOtherTextsAndContradictions) {
  for (const std::string text : {"", "P → Q", "P → Q ? P Q", "P : ◑ ? P", "P Q ; R : ● ? P", "P : ● ; P : ⊥ ? P", "P → Q ; P : ● ; Q : ⊥ ? P"}) {
    expect_rejected(family("chains"), text);
  }
}

TEST(Chains, ShowsBothTruthValuesOnceAndKeepsTheOrderOfStatements) {
  RandomStream random(3);
  for (const Item& item : family("chains").draw(random, {.depth = 4})) {
    const auto symbols = split_symbols(item.symbolic);
    EXPECT_EQ(std::count(symbols.begin(), symbols.end(), "●"), 1);
    EXPECT_EQ(std::count(symbols.begin(), symbols.end(), "⊥"), 1);
    EXPECT_EQ(item.steps.back(), symbols.back() + " : " + item.answer);
  }
}

TEST(Chains, StepsAreFactsRulesOfThePromptAndWhatTheyGive) {
  const Family& chains = family("chains");
  RandomStream random(4);
  for (int64_t depth = 1; depth <= 6; ++depth) {
    for (const Item& item : chains.draw(random, {.depth = depth})) {
      const auto halves = split_at(item.symbolic, "?");
      const auto statements = split_at(halves[0], ";");
      for (size_t k = 0; k < item.steps.size(); ++k) {
        const std::string& step = item.steps[k];
        const bool is_given = std::find(statements.begin(), statements.end(), step) != statements.end();
        if (k == 0 || step.find("→") != std::string::npos) {
          EXPECT_TRUE(is_given) << step << " in " << item.symbolic;
        } else {
          const auto symbols = split_symbols(step);  // "R : ●"
          expect_solved(chains, halves[0] + " ? " + symbols[0], symbols[2]);
        }
      }
    }
  }
}

TEST(Chains, HasManyStructures) {
  // Of 3,000 items: repeats stay few where the space is large.
  for (const int64_t depth : {1, 4, 8}) EXPECT_GT(n_forms(family("chains"), depth, 1000), 2800u) << depth;
}

TEST(Chains, DepthIsTheNumberOfRulesNeeded) {
  for (uint64_t i = 0; i < 30; ++i) {
    RandomStream random = stream(1, "depth", i);
    for (const Item& item : family("chains").draw(random, {.depth = 3})) {
      if (item.answer == kUncertain) continue;
      // Some three rules give the answer with the facts alone, no two do.
      const auto halves = split_at(item.symbolic, "?");
      std::vector<std::string> rules, facts;
      for (const std::string& statement : split_at(halves[0], ";")) (split_at(statement, "→").size() == 2 ? rules : facts).push_back(statement);
      const auto answer_with = [&](std::vector<std::string> chosen) {
        chosen.insert(chosen.end(), facts.begin(), facts.end());
        return family("chains").solve(question(join(chosen, " ; ") + " ? " + halves[1]));
      };
      bool three = false, two = false;
      for (size_t a = 0; a < rules.size(); ++a) {
        for (size_t b = a + 1; b < rules.size(); ++b) {
          two = two || answer_with({rules[a], rules[b]}) == item.answer;
          for (size_t c = b + 1; c < rules.size(); ++c) three = three || answer_with({rules[a], rules[b], rules[c]}) == item.answer;
        }
      }
      EXPECT_TRUE(three) << item.symbolic;
      EXPECT_FALSE(two) << item.symbolic;
    }
  }
}

}  // namespace
}  // namespace entrain::reasoning
