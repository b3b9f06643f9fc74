#include "family_properties.h"

#include <array>

namespace entrain::reasoning {
namespace {

TEST(Boolean, Properties) { expect_properties(family("boolean"), 70); }

TEST(Boolean, KleenesTables) {
  // Rows ⊥ ◑ ●, columns likewise.
  const std::map<std::string, std::string> tables = {
      {"∧", "⊥⊥⊥ ⊥◑◑ ⊥◑●"}, {"∨", "⊥◑● ◑◑● ●●●"}, {"⊻", "⊥◑● ◑◑◑ ●◑⊥"}, {"↔", "●◑⊥ ◑◑◑ ⊥◑●"}, {"→", "●●● ◑◑● ⊥◑●"}};
  const std::array<std::string, 3> values = {"⊥", "◑", "●"};
  for (const auto& [op, table] : tables) {
    for (size_t a = 0; a < 3; ++a) {
      for (size_t b = 0; b < 3; ++b) {
        const std::string expected = table.substr(a * 10 + b * 3, 3);  // three bytes a symbol, ten a row with its space
        expect_solved(family("boolean"), "A : " + values[a] + " ; B : " + values[b] + " ? A " + op + " B", expected);
      }
    }
  }
}

TEST(Boolean, SolvesByHand) {
  const Family& boolean = family("boolean");
  expect_solved(boolean, "A : ● ? A", kTrue);
  expect_solved(boolean, "A : ● ? ¬ ¬ ¬ A", kFalse);
  expect_solved(boolean, "A : ● ; B : ⊥ ; C : ◑ ? ( A ∧ ¬ B ) ∨ C", kTrue);
  expect_solved(boolean, "A : ● ; B : ⊥ ; C : ◑ ? ¬ ( ( A ∧ B ) ↔ ¬ C )", kUncertain);
}

TEST(Boolean, RejectsOtherTexts) {
  for (const std::string text : {"", "A : ●", "A : ● ? ", "A : ● ? B", "A : ● ? A ∧", "A : ● ? ( A", "A : ● ? A A", "A : 3 ? A", "A : ● ? A ∧ A ∧ A"}) {
    expect_rejected(family("boolean"), text);
  }
}

TEST(Boolean, StepsAreReadOffThePromptOrOffStepsBefore) {
  const Family& boolean = family("boolean");
  RandomStream random(8);
  for (int64_t depth = 1; depth <= boolean.max_depth(); ++depth) {
    for (const Item& item : boolean.draw(random, {.depth = depth})) {
      std::vector<std::string> seen;
      for (const std::string& statement : split_at(split_at(item.symbolic, "?")[0], ";")) seen.push_back(statement);
      for (const std::string& step : item.steps) {
        const auto symbols = split_symbols(step);
        const std::string value = symbols.back();
        if (symbols.size() == 3) {
          EXPECT_NE(std::find(seen.begin(), seen.end(), step), seen.end()) << step << " in " << item.symbolic;
        } else if (symbols[0] == "¬") {
          EXPECT_TRUE(std::any_of(seen.begin(), seen.end(), [&](const std::string& one) { return one.ends_with(" : " + symbols[1]); })) << step;
          expect_solved(boolean, "A : " + symbols[1] + " ? ¬ A", value);
        } else {
          ASSERT_EQ(symbols.size(), 5u) << step;
          expect_solved(boolean, "A : " + symbols[0] + " ; B : " + symbols[2] + " ? A " + symbols[1] + " B", value);
        }
        seen.push_back(step);
      }
      EXPECT_TRUE(item.steps.back().ends_with(" : " + item.answer)) << item.steps.back();
    }
  }
}

TEST(Boolean, HasManyStructures) {
  for (const int64_t depth : {1, 2, 5}) EXPECT_GT(n_forms(family("boolean"), depth, 1000), 2900u) << depth;
}

// Value of the prefix English ("both red and not old") under the stated values; 0 false, 1 unknown, 2 true.
int english_value(const std::vector<std::string>& words, size_t& next, const std::map<std::string, int>& values) {
  const std::string word = words.at(next++);
  const auto two = [&] {
    const int a = english_value(words, next, values);
    ++next;  // and, or, xor, as, then
    return std::pair{a, english_value(words, next, values)};
  };
  if (word == "not") return 2 - english_value(words, next, values);
  if (word == "both") {
    const auto [a, b] = two();
    return std::min(a, b);
  }
  if (word == "either") {
    const auto [a, b] = two();
    return std::max(a, b);
  }
  if (word == "if") {
    const auto [a, b] = two();
    return std::max(2 - a, b);
  }
  if (word == "exactly" || word == "alike") {
    const auto [a, b] = two();
    const int alike = std::min(std::max(2 - a, b), std::max(a, 2 - b));
    return word == "alike" ? alike : 2 - alike;
  }
  return values.at(word);
}

TEST(Boolean, EnglishSaysTheSame) {
  for (uint64_t i = 0; i < 100; ++i) {
    RandomStream random = stream(2, "english", i);
    for (const Item& item : family("boolean").draw(random, {.depth = 1 + static_cast<int64_t>(i % 5)})) {
      std::map<std::string, int> values;
      const auto sentences = split_at(item.english, ".");
      for (size_t s = 0; s + 1 < sentences.size(); ++s) {
        const auto words = split_symbols(sentences[s]);
        values[words[0]] = words[2] == "true" ? 2 : words[2] == "unknown" ? 1 : 0;
      }
      const auto words = split_symbols(sentences.back());
      size_t next = 4;  // Is it so that
      EXPECT_EQ(english_value(words, next, values), 2 - answer_index(item.answer)) << item.english;
      EXPECT_EQ(words.at(next), "?");
    }
  }
}

}  // namespace
}  // namespace entrain::reasoning
