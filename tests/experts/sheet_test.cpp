#include "entrain/experts/sheet.h"

#include <gtest/gtest.h>

#include <set>

#include "entrain/base/error.h"
#include "entrain/experts/coordinator.h"
#include "entrain/reasoning/family.h"
#include "text_pool.h"

namespace entrain::experts {
namespace {

std::vector<reasoning::Item> some_items(size_t n) {
  std::vector<reasoning::Item> items;
  RandomStream random = stream(1, "test/items");
  for (size_t k = 0; k < n; ++k) {
    reasoning::Item item;
    item.family = k % 3 == 0 ? "one" : "two";
    item.depth = 1 + static_cast<int64_t>(k % 2);
    item.symbolic = "x" + std::string(1 + k % 4, 'x') + std::to_string(k) + " ?";
    item.english = "Is it so that x is " + std::to_string(k) + " ?";
    item.answer = reasoning::kAnswers[random.next_below(kAnswers)];
    item.canonical = std::to_string(k);
    item.hash = reasoning::canonical_hash(item.family, item.canonical);
    items.push_back(item);
  }
  return items;
}

TEST(Sheet, AsksEveryExpertEverything) {
  const Pool pool = text_pool(3);
  const auto items = some_items(30);
  const Sheet sheet = make_sheet(pool, items, 0.5);
  ASSERT_EQ(sheet.n(), 30);
  ASSERT_EQ(sheet.n_experts(), 3);
  std::vector<std::vector<int32_t>> prompts;
  for (size_t q = 0; q < 30; ++q) {
    EXPECT_EQ(sheet.questions[q].item, items[q]);
    EXPECT_EQ(sheet.questions[q].in_english, asked_in_english(items[q], 0.5));
    EXPECT_EQ(sheet.questions[q].prompt(), sheet.questions[q].in_english ? items[q].english : items[q].symbolic);
    prompts.push_back(pool.tokenizer.encode(sheet.questions[q].prompt(), text::Specials::kAsText));
    EXPECT_EQ(sheet.lengths[q], std::ssize(prompts[q]));
    EXPECT_EQ(reasoning::kAnswers[static_cast<size_t>(sheet.truth[static_cast<int64_t>(q)].item<int64_t>())], items[q].answer);
  }
  for (size_t j = 0; j < 3; ++j) {
    const Answers alone = ask(pool.experts[j], pool.tokenizer, pool.tokens, prompts);
    EXPECT_TRUE(at::equal(sheet.answers[j].choice, alone.choice));
    EXPECT_TRUE(at::equal(sheet.answers[j].probabilities, alone.probabilities));
    EXPECT_TRUE(at::equal(sheet.correct[static_cast<int64_t>(j)], (alone.choice == sheet.truth).to(at::kDouble)));
    EXPECT_TRUE(at::equal(sheet.cost[static_cast<int64_t>(j)], at::tensor(alone.flops, at::kDouble)));
  }
  EXPECT_EQ(sheet.cheapest(), 0) << "one layer";
  EXPECT_EQ(sheet.dearest(), 2);
  EXPECT_EQ(sheet.relative_cost()[2].item<double>(), 1);
  EXPECT_NEAR(sheet.relative_cost()[0].item<double>(), (sheet.cost[0].sum() / sheet.cost[2].sum()).item<double>(), 1e-12);
  EXPECT_TRUE(sheet.failures().empty());
}

TEST(Sheet, AsksTheOtherSurface) {
  const Pool pool = text_pool(2);
  const Sheet sheet = make_sheet(pool, some_items(12), 0.5), other = other_surface(pool, sheet);
  for (size_t q = 0; q < 12; ++q) {
    EXPECT_EQ(other.questions[q].item, sheet.questions[q].item);
    EXPECT_NE(other.questions[q].in_english, sheet.questions[q].in_english);
  }
  EXPECT_TRUE(at::equal(other.truth, sheet.truth));
  EXPECT_FALSE(at::equal(other.answers[0].before, sheet.answers[0].before));
}

TEST(Sheet, ExchangesLetters) {
  const Pool pool = text_pool(2);
  std::vector<reasoning::Item> items = some_items(12);
  const std::string questions[] = {"A : ● ; B : ⊥ ? A", "A : ● ; B : ⊥ ? ¬ B", "A : ◑ ; B : ⊥ ? A ∧ B"};
  for (size_t q = 0; q < items.size(); ++q) {
    items[q].family = "boolean";
    items[q].symbolic = questions[q % 3];
    items[q].answer = reasoning::family("boolean").solve(items[q]);
  }
  const Sheet sheet = make_sheet(pool, items, 0), other = other_letters(pool, sheet), again = other_letters(pool, sheet);
  for (size_t q = 0; q < items.size(); ++q) {
    EXPECT_NE(other.questions[q].item.symbolic, items[q].symbolic);
    EXPECT_EQ(reasoning::family("boolean").solve(other.questions[q].item), items[q].answer) << "the same question";
    EXPECT_EQ(other.questions[q].item, again.questions[q].item) << "the same letters every time";
  }
  EXPECT_TRUE(at::equal(other.truth, sheet.truth));
  EXPECT_FALSE(at::equal(other.answers[0].before, sheet.answers[0].before));
}

TEST(Sheet, DecidesTheSurfaceByTheItemAlone) {
  const auto items = some_items(4000);
  int64_t n = 0;
  for (const reasoning::Item& item : items) {
    EXPECT_FALSE(asked_in_english(item, 0));
    EXPECT_TRUE(asked_in_english(item, 1));
    EXPECT_TRUE(!asked_in_english(item, 0.3) || asked_in_english(item, 0.31)) << "a larger share asks the same ones in English, and others";
    n += asked_in_english(item, 0.3);
  }
  EXPECT_NEAR(static_cast<double>(n) / 4000, 0.3, 0.03) << "four standard errors";
}

TEST(Sheet, NumbersStrataByFamilyDepthAndSurface) {
  const Pool pool = text_pool(2);
  const Sheet sheet = make_sheet(pool, some_items(60), 0.5);
  const std::vector<int64_t> got = strata(sheet);
  for (size_t a = 0; a < 60; ++a) {
    for (size_t b = 0; b < 60; ++b) {
      const auto &x = sheet.questions[a], &y = sheet.questions[b];
      EXPECT_EQ(got[a] == got[b], x.item.family == y.item.family && x.item.depth == y.item.depth && x.in_english == y.in_english);
    }
  }
  const std::set<int64_t> distinct(got.begin(), got.end());
  EXPECT_EQ(*distinct.begin(), 0);
  EXPECT_EQ(*distinct.rbegin(), std::ssize(distinct) - 1);
}

TEST(Sheet, GoesOnWithoutAnExpertThatFails) {
  Pool pool = text_pool(3);
  const Sheet sound = make_sheet(pool, some_items(20), 0.5);
  spoil(pool.experts[0].model);
  const Sheet sheet = make_sheet(pool, some_items(20), 0.5);
  EXPECT_EQ(sheet.usable, (std::vector<bool>{false, true, true}));
  ASSERT_EQ(sheet.failures().size(), 1U);
  EXPECT_NE(sheet.failures()[0].find("expert0 failed: its states are not finite; the pool goes on without it"), std::string::npos) << sheet.failures()[0];
  EXPECT_EQ(sheet.correct[0].sum().item<double>(), 0);
  EXPECT_EQ(sheet.cost[0].sum().item<double>(), 0);
  for (int64_t j : {1, 2}) EXPECT_TRUE(at::equal(sheet.correct[j], sound.correct[j]));
  EXPECT_EQ(sheet.cheapest(), 1);
  EXPECT_EQ(sheet.dearest(), 2);
  const Routing routing = Coordinator::fit(sheet).route(sheet, 0.1);
  for (const int64_t j : routing.chosen) EXPECT_NE(j, 0);
  EXPECT_TRUE(at::isfinite(blend(sheet, {0.6, 0.25, 0.15}).cost).all().item<bool>());
  EXPECT_EQ(majority_vote(sheet).answer.size(0), 20);
}

TEST(Sheet, CountsAFailureOnOneSheetOnAll) {
  const Pool pool = text_pool(3);
  Sheet one = make_sheet(pool, some_items(10), 0.5), two = make_sheet(pool, some_items(7), 0.5);
  two.answers[1].failure = "expert expert1 failed: planted";
  two.usable[1] = false;
  const Tensor kept = one.correct[2].clone();
  const std::vector<Sheet*> both{&one, &two};
  agree_on_failures(both);
  for (const Sheet* sheet : both) {
    EXPECT_EQ(sheet->usable, (std::vector<bool>{true, false, true}));
    EXPECT_EQ(sheet->answers[1].failure, "expert expert1 failed: planted");
    EXPECT_EQ(sheet->cost[1].sum().item<double>() + sheet->correct[1].sum().item<double>(), 0);
  }
  EXPECT_TRUE(at::equal(one.correct[2], kept));
  one.usable[0] = two.usable[2] = false;
  EXPECT_THROW(agree_on_failures(both), Error) << "no expert is left that answers on both";
}

TEST(Sheet, RefusesAPoolThatFailsWhole) {
  Pool pool = text_pool(2);
  for (const Expert& expert : pool.experts) spoil(expert.model);
  try {
    make_sheet(pool, some_items(5), 0.5);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNumeric);
    EXPECT_NE(std::string(error.what()).find("every expert of the pool failed; expert expert0 failed"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace entrain::experts
