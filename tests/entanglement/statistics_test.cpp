#include "entrain/entanglement/statistics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/random.h"

namespace entrain::entanglement {
namespace {

/// Stretches of 50 tokens, each drawn from one of `n_themes` themes of `words` words.
std::vector<int32_t> themed_text(int n_stretches, int n_themes, int words) {
  RandomStream random = stream(1, "test/text");
  std::vector<int32_t> tokens;
  for (int stretch = 0; stretch < n_stretches; ++stretch) {
    const uint64_t theme = random.next_below(static_cast<uint64_t>(n_themes));
    for (int i = 0; i < 50; ++i) tokens.push_back(static_cast<int32_t>(theme * static_cast<uint64_t>(words) + random.next_below(static_cast<uint64_t>(words))));
  }
  return tokens;
}

/// From the definition, by sums over positions.
Tensor dense_ppmi(const std::vector<int32_t>& tokens, int64_t vocab, int64_t window) {
  const Tensor joint = at::zeros({vocab, vocab}, at::kDouble);
  auto cells = joint.accessor<double, 2>();
  for (int64_t i = 0; i < static_cast<int64_t>(tokens.size()); ++i) {
    for (int64_t j = std::max<int64_t>(0, i - window); j <= std::min<int64_t>(static_cast<int64_t>(tokens.size()) - 1, i + window); ++j) {
      if (i != j) cells[tokens[static_cast<size_t>(i)]][tokens[static_cast<size_t>(j)]] += 1;
    }
  }
  const Tensor p = joint / joint.sum(), one = p.sum(1);
  return (p / (one.unsqueeze(0) * one.unsqueeze(1))).log().clamp_min(0);
}

TEST(TokenStatistics, CountsTokens) {
  const std::vector<int32_t> tokens = {3, 1, 3, 0, 3};
  const TokenStatistics statistics = token_statistics(tokens, 5, {.positives = "same_token"});
  EXPECT_TRUE(at::equal(statistics.counts, at::tensor({1.0, 1.0, 0.0, 3.0, 0.0}, at::kDouble)));
  EXPECT_FALSE(statistics.vectors.defined());
  EXPECT_THROW(token_statistics(tokens, 3, {.positives = "same_token"}), std::logic_error);
}

TEST(TokenStatistics, VectorsApproximatePpmi) {
  const std::vector<int32_t> tokens = themed_text(2000, 4, 5);
  const Config config{.positives = "ppmi", .ppmi_rank = 4, .ppmi_window = 3};
  const Tensor u = token_statistics(tokens, 20, config).vectors.to(at::kDouble), expected = dense_ppmi(tokens, 20, 3);
  EXPECT_GE(u.min().item<double>(), 0.0);
  // Four themes make four blocks of about log 4 minus what stretches' ends mix; sampling noise per cell is about 1/sqrt(3000).
  const Tensor error = at::mm(u, u.t()) - expected;
  EXPECT_LT(error.norm().item<double>(), 0.05 * expected.norm().item<double>());
  EXPECT_GT(expected[0][1].item<double>(), 1.1);
  EXPECT_TRUE(at::equal(token_statistics(tokens, 20, config).vectors.to(at::kDouble), u));  // deterministic
}

TEST(TokenStatistics, RanksAboveTheVocabularyAndEmptyTextsWork) {
  const std::vector<int32_t> tokens = themed_text(40, 2, 2);
  EXPECT_EQ(token_statistics(tokens, 4, {.positives = "ppmi"}).vectors.sizes(), (at::IntArrayRef{4, 4}));
  const TokenStatistics none = token_statistics({}, 4, {.positives = "ppmi"});
  EXPECT_EQ(none.counts.sum().item<double>() + none.vectors.abs().sum().item<double>(), 0.0);
}

TEST(TokenStatistics, RareTypesTakeNoPart) {
  std::vector<int32_t> tokens;
  for (int32_t round = 0; round < 2; ++round) {
    for (int32_t type = 4; type < 4100; ++type) tokens.push_back(type);  // 4,096 types occur twice
  }
  for (int32_t type = 0; type < 4; ++type) tokens.push_back(type);  // four occur once
  const Tensor norms = token_statistics(tokens, 4100, {.positives = "ppmi", .ppmi_rank = 1, .ppmi_window = 1}).vectors.norm(2, {1});
  EXPECT_EQ(norms.narrow(0, 0, 4).max().item<double>(), 0.0);
  EXPECT_GT(norms.narrow(0, 4, 4096).min().item<double>(), 0.0);
}

}  // namespace
}  // namespace entrain::entanglement
