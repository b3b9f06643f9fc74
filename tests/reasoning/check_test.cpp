// The gates on families with planted faults: each has to be caught, and a clean family has to pass.

#include "entrain/reasoning/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "entrain/base/error.h"
#include "entrain/reasoning/shortcuts.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

/// "a < b ; ... ? a < b": groups of a true and a false item, into which a fault is planted.
class Planted : public Family {
 public:
  using Fault = std::function<void(std::vector<Item>&, RandomStream&)>;
  explicit Planted(Fault fault = {}, bool is_closed = false) : fault_(std::move(fault)), is_closed_(is_closed) {}
  std::string name() const override { return "planted"; }
  std::string description() const override { return ""; }
  int64_t max_depth() const override { return 2; }
  bool closed() const override { return is_closed_; }
  double chance(int64_t) const override { return 0.5; }
  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const auto names = draw_names(random, NameKind::kLower, how.names, 10);
    std::vector<Item> group;
    const std::string number = std::to_string(random.next_u64());
    for (const bool holds : {true, false}) {
      const std::string first = names[holds ? 0 : 1], second = names[holds ? 1 : 0];
      Item item;
      item.depth = how.depth;
      for (size_t i = 2; i < 10; i += 2) item.symbolic += names[i] + " < " + names[i + 1] + " ; ";
      item.symbolic += first + " < " + second + " ? " + names[0] + " < " + names[1];
      item.english = item.symbolic;
      item.answer = holds ? kTrue : kFalse;
      item.canonical = number + "|" + item.answer;
      group.push_back(item);
    }
    if (fault_) fault_(group, random);
    return group;
  }
  std::string solve(const Item& item) const override {
    const auto symbols = split_symbols(split_at(split_at(item.symbolic, "?")[0], ";").back());
    const auto asked = split_symbols(split_at(item.symbolic, "?")[1]);
    return std::string(std::find(symbols.begin(), symbols.end(), asked[0]) < std::find(symbols.begin(), symbols.end(), asked[2]) ? kTrue : kFalse);
  }
  std::string solve_by_search(const Item& item) const override { return solve(item); }

 private:
  Fault fault_;
  bool is_closed_;
};

constexpr int64_t kN = 2000;

bool caught(const CheckReport& report, std::string_view gate, std::string_view surface) {
  return std::any_of(report.gates.begin(), report.gates.end(), [&](const GateResult& result) {
    return result.gate == gate && result.surface == surface && !result.passed();
  });
}

TEST(Check, CleanFamilyPassesWithNoNoiseAtAll) {
  const CheckReport report = check_family(Planted(), kN, 1);
  EXPECT_TRUE(report.passed) << report.reason;
  EXPECT_EQ(report.n_items, 2 * kN);
  EXPECT_EQ(report.mismatches, 0);
  EXPECT_EQ(report.overlap, 0);
  EXPECT_EQ(report.n_distinct, 2 * kN);
  EXPECT_NEAR(report.worst_excess, 0, 1e-12);
  for (const GateResult& gate : report.gates) EXPECT_EQ(gate.standard_error, 0) << gate.gate;
}

TEST(Check, CatchesASymbolThatTellsTheAnswer) {
  // In one of five groups the true item has another symbol: chance + 10 points for a bag of symbols.
  const Planted::Fault mark = [](std::vector<Item>& group, RandomStream& random) {
    if (!draw_chance(random, 0.2)) return;
    for (Item& item : group) item.symbolic = (item.answer == kTrue ? "a < q ; " : "a < z ; ") + item.symbolic;
  };
  const CheckReport report = check_family(Planted(mark), kN, 1);
  EXPECT_FALSE(report.passed);
  EXPECT_TRUE(caught(report, "bag of symbols", "symbolic"));
  EXPECT_TRUE(caught(report, "query removed", "symbolic"));
  EXPECT_FALSE(caught(report, "bag of symbols", "english"));
  EXPECT_FALSE(caught(report, "premises removed", "symbolic"));
  EXPECT_GT(report.malformed, 0);  // groups of unequal symbols
  EXPECT_GT(report.worst_excess, kGateMargin);
  EXPECT_NE(report.reason.find("bag of symbols, symbolic"), std::string::npos) << report.reason;
}

TEST(Check, CatchesAnEnglishWordThatTellsTheAnswer) {
  const Planted::Fault mark = [](std::vector<Item>& group, RandomStream&) {
    for (Item& item : group) item.english += item.answer == kTrue ? " indeed" : " perhaps";
  };
  const CheckReport report = check_family(Planted(mark), kN, 1);
  EXPECT_TRUE(caught(report, "last symbol", "english"));
  EXPECT_TRUE(caught(report, "premises removed", "english"));
  EXPECT_FALSE(caught(report, "last symbol", "symbolic"));
  EXPECT_FALSE(report.passed);
  EXPECT_EQ(report.malformed, 0);
}

TEST(Check, CatchesATruthSymbolToCopy) {
  // The bag sees it too; what matters is that copying is scored on the prompts that show one symbol only.
  const Planted::Fault show = [](std::vector<Item>& group, RandomStream& random) {
    const bool honest = draw_chance(random, 0.7);
    for (Item& item : group) item.symbolic = "z : " + (honest == (item.answer == kTrue) ? std::string(kTrue) : std::string(kFalse)) + " ; " + item.symbolic;
  };
  const CheckReport report = check_family(Planted(show), kN, 1);
  EXPECT_TRUE(caught(report, "copy the only truth symbol", "symbolic"));
  const Planted::Fault both = [](std::vector<Item>& group, RandomStream&) {
    for (Item& item : group) item.symbolic = (item.answer == kTrue ? "z : ● ; y : ⊥ ; " : "z : ⊥ ; y : ● ; ") + item.symbolic;
  };
  EXPECT_TRUE(check_family(Planted(both), kN, 1).passed);
}

TEST(Check, CatchesAnswersThatAreNotBalanced) {
  const Planted::Fault drop = [](std::vector<Item>& group, RandomStream& random) {
    if (draw_chance(random, 0.1)) group.pop_back();
  };
  const CheckReport report = check_family(Planted(drop), 2 * kN, 1);
  EXPECT_TRUE(caught(report, "constant", "symbolic")) << worst_gate(report);
  EXPECT_TRUE(caught(report, "balance", "symbolic"));
}

TEST(Check, CatchesWrongAnswersAndMalformedText) {
  const Planted::Fault swap = [](std::vector<Item>& group, RandomStream& random) {
    if (draw_chance(random, 0.01)) std::swap(group[0].answer, group[1].answer);
  };
  const CheckReport wrong = check_family(Planted(swap), kN, 1);
  EXPECT_GT(wrong.mismatches, 0);
  EXPECT_LT(wrong.mismatches, kN / 10);
  EXPECT_FALSE(wrong.passed);
  for (const std::string text : {" = ", "\n", "  ", " ⊢"}) {
    const Planted::Fault spoil = [&](std::vector<Item>& group, RandomStream&) {
      for (Item& item : group) item.english += text + "x";
    };
    const CheckReport report = check_family(Planted(spoil), 100, 1);
    EXPECT_GE(report.malformed, 200) << text;
    EXPECT_FALSE(report.passed);
  }
}

TEST(Check, ClosedFamiliesAreExemptFromGatesButNotFromSolvers) {
  const Planted::Fault mark = [](std::vector<Item>& group, RandomStream&) {
    for (Item& item : group) item.canonical = item.answer, item.english += item.answer == kTrue ? " yes" : " no";
  };
  const CheckReport report = check_family(Planted(mark, true), kN, 1);
  EXPECT_TRUE(report.passed) << report.reason;
  EXPECT_EQ(report.overlap, kN);
  EXPECT_EQ(worst_gate(report), "exempt");
  const Planted::Fault wrong = [](std::vector<Item>& group, RandomStream&) { std::swap(group[0].answer, group[1].answer); };
  EXPECT_FALSE(check_family(Planted(wrong, true), kN, 1).passed);
}

TEST(Check, NoisyGatesAreJudgedOverAllDepths) {
  // Answers by a coin, one item a group: right by luck, with a standard error of 1.6 points a depth at 1,000 items.
  const Planted::Fault alone = [](std::vector<Item>& group, RandomStream& random) {
    group = {group[draw_chance(random, 0.5) ? 1 : 0]};
  };
  const CheckReport report = check_family(Planted(alone), kN, 1);
  EXPECT_TRUE(report.passed) << report.reason;
  for (const GateResult& gate : report.gates) {
    if (gate.gate == "balance" || gate.gate == "copy the only truth symbol") continue;
    EXPECT_EQ(gate.cell, "depths 1-2");
    EXPECT_NEAR(gate.standard_error, 0.5 / std::sqrt(static_cast<double>(kN)), 1e-3);
  }
}

TEST(Shortcuts, QuestionsAreSplitOff) {
  using Pair = std::pair<std::string_view, std::string_view>;
  EXPECT_EQ(split_question("P → Q ; P : ● ? Q"), (Pair{"P → Q ; P : ● ", "? Q"}));
  EXPECT_EQ(split_question("It is red . Is it old ?"), (Pair{"It is red . ", "Is it old ?"}));
  EXPECT_EQ(split_question("It is red. Is it old ?"), (Pair{"It is red. ", "Is it old ?"}));
  EXPECT_EQ(split_question("1 7 + 5 ≡ 2 2 ?"), (Pair{"", "1 7 + 5 ≡ 2 2 ?"}));
  EXPECT_EQ(split_question(""), (Pair{"", ""}));
}

// Small samples of the real families; `entrain experts tasks --check` takes 10,000 each.
TEST(Check, EveryFamilyPasses) {
  for (const auto& family : families()) {
    const CheckReport report = check_family(*family, 600, 3);
    EXPECT_TRUE(report.passed) << report.family << ": " << report.reason;
    EXPECT_EQ(report.mismatches, 0) << report.family;
    EXPECT_EQ(report.overlap, 0) << report.family;
  }
}

}  // namespace
}  // namespace entrain::reasoning
