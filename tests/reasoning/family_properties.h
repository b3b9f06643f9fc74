#pragma once
// What holds for the groups of every family, at all depths, with both samplers and both vocabularies.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "entrain/base/error.h"
#include "entrain/reasoning/family.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {

/// A question to solve, without anything else.
inline Item question(const std::string& symbolic) {
  Item item;
  item.symbolic = symbolic;
  return item;
}

inline void expect_solved(const Family& family, const std::string& symbolic, std::string_view answer) {
  EXPECT_EQ(family.solve(question(symbolic)), answer) << symbolic;
  EXPECT_EQ(family.solve_by_search(question(symbolic)), answer) << symbolic;
}

inline void expect_rejected(const Family& family, const std::string& symbolic) {
  EXPECT_THROW(family.solve(question(symbolic)), Error) << symbolic;
  EXPECT_THROW(family.solve_by_search(question(symbolic)), Error) << symbolic;
}

inline std::string skeleton(const Item& item) { return item.canonical.substr(0, item.canonical.find('|')); }

/// `max_symbols`: of symbolic prompts; English ones may be twice as long.
inline void expect_properties(const Family& family, size_t max_symbols, uint64_t n_groups = 40) {
  for (int64_t depth = 1; depth <= family.max_depth(); ++depth) {
    for (const Sampler sampler : {Sampler::kRulesFirst, Sampler::kLabelsFirst}) {
      for (const Names names : {Names::kTrained, Names::kUnseen}) {
        for (uint64_t i = 0; i < n_groups; ++i) {
          RandomStream random = stream(11, "properties", static_cast<uint64_t>(depth), i), again = random;
          const std::vector<Item> group = family.draw(random, {depth, sampler, names});
          ASSERT_GE(group.size(), 2u);
          EXPECT_EQ(family.draw(again, {depth, sampler, names}), group);
          std::set<std::string> answers, forms;
          for (const Item& item : group) {
            EXPECT_EQ(item.depth, depth);
            EXPECT_GE(answer_index(item.answer), 0);
            EXPECT_EQ(family.solve(item), item.answer) << item.symbolic;
            EXPECT_EQ(family.solve_by_search(item), item.answer) << item.symbolic;
            EXPECT_FALSE(item.steps.empty());
            answers.insert(item.answer);
            forms.insert(item.canonical);
            EXPECT_EQ(skeleton(item), skeleton(group[0]));
            EXPECT_EQ(sorted_symbols(item.symbolic), sorted_symbols(group[0].symbolic));
            EXPECT_EQ(sorted_symbols(item.english), sorted_symbols(group[0].english));
            EXPECT_LE(split_symbols(item.symbolic).size(), max_symbols) << item.symbolic;
            for (const std::string& text : {item.symbolic, item.english}) {
              EXPECT_EQ(join(split_symbols(text)), text) << "single spaces";
              EXPECT_EQ(text.find(" = "), std::string::npos);
              EXPECT_EQ(text.find("⊢"), std::string::npos);
              EXPECT_EQ(text.find('\n'), std::string::npos);
              EXPECT_LE(split_symbols(text).size(), 2 * max_symbols) << text;
            }
          }
          EXPECT_EQ(answers.size(), group.size()) << group[0].symbolic;
          EXPECT_EQ(forms.size(), group.size()) << group[0].symbolic;
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

/// Phrases and what they stand for in symbols; earlier ones are replaced first.
using Phrases = std::vector<std::pair<std::string, std::string>>;

inline const Phrases kDigitWords = {{"zero", "0"}, {"one", "1"}, {"two", "2"}, {"three", "3"}, {"four", "4"}, {"five", "5"}, {"six", "6"}, {"seven", "7"}, {"eight", "8"}, {"nine", "9"}};

/// Replaces whole words of `text`.
inline std::string translate(const std::string& text, const Phrases& phrases) {
  std::string translated = " " + text + " ";
  for (const auto& [phrase, symbols] : phrases) {
    const std::string spaced = " " + phrase + " ";
    for (size_t at = translated.find(spaced); at != std::string::npos; at = translated.find(spaced, at)) translated.replace(at, spaced.size(), symbols.empty() ? " " : " " + symbols + " ");
  }
  return join(split_symbols(translated));
}

/// The English surface, put back into symbols by its words alone, has the same answer; where `same_text`, it is the symbolic surface.
inline void expect_english_means_the_same(const Family& family, Phrases phrases, bool same_text = true) {
  phrases.insert(phrases.end(), kDigitWords.begin(), kDigitWords.end());
  for (int64_t depth = 1; depth <= family.max_depth(); ++depth) {
    for (uint64_t i = 0; i < 50; ++i) {
      RandomStream random = stream(13, "english", static_cast<uint64_t>(depth), i);
      for (const Item& item : family.draw(random, {.depth = depth})) {
        Item back = item;
        back.symbolic = translate(item.english, phrases);
        if (same_text) {
          EXPECT_EQ(back.symbolic, item.symbolic);
        }
        ASSERT_EQ(family.solve(back), item.answer) << item.english << "\n" << back.symbolic;
      }
    }
  }
}

/// Different canonical forms among items of one depth.
inline size_t n_forms(const Family& family, int64_t depth, uint64_t n_groups) {
  std::set<std::string> forms;
  for (uint64_t i = 0; i < n_groups; ++i) {
    RandomStream random = stream(12, "forms", static_cast<uint64_t>(depth), i);
    for (const Item& item : family.draw(random, {.depth = depth})) forms.insert(item.canonical);
  }
  return forms.size();
}

}  // namespace entrain::reasoning
