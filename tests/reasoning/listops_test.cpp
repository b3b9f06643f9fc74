#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "family_properties.h"

namespace entrain::reasoning {
namespace {

const std::unique_ptr<Family> kListOps = make_listops();

TEST(ListOps, ByHand) {
  expect_solved(*kListOps, "[ MAX 2 [ MIN 4 7 ] 0 ] ≡ 4 ?", "●");
  expect_solved(*kListOps, "[ MAX 2 [ MIN 4 7 ] 0 ] ≡ 7 ?", "⊥");
  expect_solved(*kListOps, "[ SM 5 6 9 ] ≡ 0 ?", "●");
  expect_solved(*kListOps, "[ MED 9 1 5 ] ≡ 5 ?", "●");
  expect_solved(*kListOps, "[ MED 9 1 5 6 ] ≡ 5 ?", "●");  // the lower of the two in the middle
  expect_solved(*kListOps, "[ MED 9 1 ] ≡ 1 ?", "●");
  expect_solved(*kListOps, "[ MED 3 3 8 8 ] ≡ 3 ?", "●");
  expect_solved(*kListOps, "[ MED 3 3 8 8 8 ] ≡ 8 ?", "●");
}

TEST(ListOps, Properties) { expect_properties(*kListOps, 70); }

TEST(ListOps, DepthIsTheLevelsBelowTheOutermostList) {
  for (int64_t depth = 1; depth <= kListOps->max_depth(); ++depth) {
    for (uint64_t i = 0; i < 200; ++i) {
      RandomStream random = stream(1, "levels", i);
      for (const Item& item : kListOps->draw(random, {.depth = depth})) {
        int64_t open = 0, deepest = 0;
        for (const std::string& symbol : split_symbols(item.symbolic)) {
          open += symbol == "[" ? 1 : symbol == "]" ? -1 : 0;
          deepest = std::max(deepest, open);
        }
        EXPECT_EQ(deepest, depth + 1) << item.symbolic;
      }
    }
  }
}

/// Label first draws the value uniformly, which structure first does not: maxima and minima pile up at the ends.
TEST(ListOps, SamplersDiffer) {
  const auto n_extreme = [](Sampler sampler) {
    int n = 0;
    for (uint64_t i = 0; i < 4000; ++i) {
      RandomStream random = stream(4, "samplers", i);
      const std::string step = kListOps->draw(random, {.depth = 1, .sampler = sampler})[0].steps.back();
      n += step.ends_with(": 0") || step.ends_with(": 9");
    }
    return n;
  };
  EXPECT_NEAR(n_extreme(Sampler::kLabelsFirst), 800, 200);
  EXPECT_GT(n_extreme(Sampler::kRulesFirst), n_extreme(Sampler::kLabelsFirst));
}

TEST(ListOps, RejectsOtherTexts) {
  for (const char* text : {"", "[", "]", "[ MAX ] ≡ 4 ?", "[ MAX 2 4 ≡ 4 ?", "[ TOP 2 4 ] ≡ 4 ?", "[ MAX 2 x ] ≡ 4 ?", "[ MAX 2 4 ] ≡ x ?", "1 + 1 ≡ 2 ?"}) expect_rejected(*kListOps, text);
}

TEST(ListOps, EnglishMeansTheSame) {
  expect_english_means_the_same(*kListOps, {{"Is", ""}, {"the smallest of (", "[ MIN"}, {"the largest of (", "[ MAX"}, {"the lower median of (", "[ MED"}, {"the sum modulo ten of (", "[ SM"},
                                            {")", "]"}, {"equal to", "≡"}});
}

}  // namespace
}  // namespace entrain::reasoning
