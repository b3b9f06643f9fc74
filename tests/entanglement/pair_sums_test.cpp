#include "entrain/entanglement/pair_sums.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "entrain/entanglement/groups.h"
#include "states.h"
#include "thread_ranks.h"

namespace entrain::entanglement {
namespace {

TEST(EntanglementPairSums, ChoosesByLengthTemperatureAndLoss) {
  EXPECT_EQ(choose_pairs({}, 2048), PairSums::kExact);
  EXPECT_EQ(choose_pairs({}, 2049), PairSums::kRandomFeatures);
  EXPECT_EQ(choose_pairs({.temperature = 0.24}, 1 << 20), PairSums::kExact);
  EXPECT_EQ(choose_pairs({.loss = "simctg"}, 1 << 20), PairSums::kExact);
  EXPECT_EQ(choose_pairs({.loss = "entropy_floor"}, 1 << 20), PairSums::kExact);
  EXPECT_EQ(choose_pairs({.pairs = "exact"}, 1 << 20), PairSums::kExact);
  EXPECT_EQ(choose_pairs({.pairs = "random_features"}, 2), PairSums::kRandomFeatures);
  EXPECT_EQ(choose_pairs({.pairs = "positive_features"}, 2), PairSums::kPositiveFeatures);
  EXPECT_EQ(choose_pairs({.pairs = "fft"}, 2), PairSums::kFft);
}

TEST(EntanglementPairSums, SaysWhatItChose) {
  EXPECT_EQ(describe({}, 100), "exact pairs among 100 positions");
  EXPECT_EQ(describe({}, 4096), "random features, 256 orthogonal frequencies, for the pairs among 4096 positions");
  EXPECT_EQ(describe({.pairs = "positive_features", .frequencies = 8, .orthogonal = false}, 9), "positive random features, 8 frequencies, for the pairs among 9 positions");
  EXPECT_EQ(describe({.pairs = "fft"}, 100), "random features, 256 orthogonal frequencies, for the pairs among 100 positions, weighted by their distance (FFT)");
}

TEST(EntanglementPairSums, LossesWithoutPairsNameNone) {
  for (const int64_t n : {100, 4096}) {
    const auto said = [&](const std::string& loss) { return describe({.loss = loss, .slices = 32}, n); };
    EXPECT_EQ(said("ecf"), "characteristic function of all positions, 256 orthogonal frequencies");
    EXPECT_EQ(said("sigreg"), "characteristic function of all positions along 32 random directions");
    for (const std::string loss : {"hsic", "attribute_hsic"}) EXPECT_EQ(said(loss), "covariances of random features of all positions, 256 orthogonal frequencies") << loss;
    EXPECT_EQ(said("cosreg"), "mean direction of all positions");
    for (const std::string loss : {"decov", "barlow", "vicreg", "total_correlation"}) EXPECT_EQ(said(loss), "covariances of all positions") << loss;
  }
}

TEST(EntanglementPairSums, GroupSizeIsThatOfTheGroups) {
  constexpr int64_t kRanks = 3, kPositions = 5;
  for (const std::string loss : {"infonce", "contraclm"}) {
    for (const std::string scope : {"batch", "sequence"}) {
      for (const int64_t views : {1, 2}) {
        run_ranks(kRanks, [&](Communicator& ranks) {
          const Config config{.loss = loss, .scope = scope};
          Context context;
          context.views = views;
          context.ranks = &ranks;
          const Tensor groups = to_groups(at::zeros({4, kPositions, 2}), config, context);
          const int64_t expected = scope == "batch" && loss != "contraclm" ? 4 * kPositions * kRanks : kPositions * views;
          EXPECT_EQ(group_size(groups, config, context), expected) << loss << " " << scope << " " << views;
          EXPECT_EQ(group_size(config, 4, kPositions, views, kRanks), expected) << loss << " " << scope << " " << views;
        });
      }
    }
  }
}

TEST(EntanglementPairSums, FrequenciesAreGaussianAndOrthogonalInBlocks) {
  constexpr int64_t d = 8, kMany = 4000;
  const Config config{.temperature = 0.5, .frequencies = kMany + 3};  // the last block is cut
  const Tensor w = draw_frequencies(config, {}, d, at::kDouble);
  EXPECT_EQ(w.sizes(), (at::IntArrayRef{kMany + 3, d}));
  const Tensor blocks = unit(w.narrow(0, 0, kMany)).view({-1, d, d});
  EXPECT_LT((at::bmm(blocks, blocks.transpose(1, 2)) - at::eye(d, at::kDouble)).abs().max().item<double>(), 1e-12);  // float64 rounding
  // E |w|^2 = d / tau = 16, variance 2 d / tau^2 = 64: the mean of 4,003 has a standard error of 0.13; each coordinate's mean one of 0.022.
  EXPECT_NEAR(w.square().sum(1).mean().item<double>(), 16.0, 5 * 0.13);
  EXPECT_LT(w.mean(0).abs().max().item<double>(), 5 * 0.023);
  Config independent = config;
  independent.orthogonal = false;
  const Tensor free = unit(draw_frequencies(independent, {}, d, at::kDouble).narrow(0, 0, d));
  EXPECT_GT((at::mm(free, free.t()) - at::eye(d, at::kDouble)).abs().max().item<double>(), 0.1);
}

TEST(EntanglementPairSums, FrequenciesAreDrawnAnewEveryStep) {
  const auto draw = [](bool resample, uint64_t step) {
    Context context;
    context.step = step;
    return draw_frequencies({.resample = resample}, context, 4, at::kFloat);
  };
  EXPECT_TRUE(at::equal(draw(true, 1), draw(true, 1)));
  EXPECT_FALSE(at::equal(draw(true, 1), draw(true, 2)));
  EXPECT_TRUE(at::equal(draw(false, 1), draw(false, 2)));
}

TEST(EntanglementPairSums, GroupsAreRowsOrTheBatchAndInvert) {
  Context context;
  const Tensor x = normal({4, 3, 2}, 1);
  EXPECT_TRUE(at::equal(to_groups(x, {}, context), x.view({1, 12, 2})));
  EXPECT_TRUE(at::equal(to_groups(x, {.scope = "sequence"}, context), x));
  context.views = 2;
  const Tensor both = to_groups(x, {.scope = "sequence"}, context);
  EXPECT_TRUE(at::equal(both[1], at::cat({x[1], x[3]})));
  for (const std::string scope : {"batch", "sequence"}) EXPECT_TRUE(at::equal(from_groups(to_groups(x, {.scope = scope}, context), {.scope = scope}, context), x.view({12, 2})));
}

/// (G, n, n) exp(s) with a zero diagonal.
Tensor kernels(const Tensor& z, double temperature) {
  return (at::bmm(z, z.transpose(1, 2)) / temperature).exp() * (1 - at::eye(z.size(1), at::kDouble));
}

TEST(EntanglementPairSums, ExactSumsAreThoseOfTheMatrix) {
  const Tensor z = unit(normal({3, 17, 5}, 2));
  for (const double temperature : {0.1, 0.5}) {
    const Config config{.scope = "sequence", .temperature = temperature};
    const Tensor expected = kernels(z, temperature);
    EXPECT_LT((log_row_sums(z, config, {}) - expected.sum(2).log()).abs().max().item<double>(), 1e-12);  // float64 rounding
    EXPECT_LT((log_pair_mean(z, config, {}) - (expected.sum({1, 2}) / (17 * 16)).log()).abs().max().item<double>(), 1e-12);
  }
}

TEST(EntanglementPairSums, EstimatesAreThoseOfTheirFeatures) {
  const Tensor z = unit(normal({1, 12, 3}, 3) + 1.0);
  for (const std::string pairs : {"random_features", "positive_features", "fft"}) {
    const Config config{.scope = "sequence", .temperature = 0.5, .pairs = pairs, .frequencies = 50, .window_decay = 0.7};
    const Tensor angles = at::mm(z[0], draw_frequencies(config, {}, 3, at::kDouble).t());
    // e^(x.y / tau) from either map: that of cosines and sines estimates e^((x.y - 1) / tau).
    const Tensor phi = pairs == "positive_features" ? (angles - 1).exp() : std::exp(1.0) * at::cat({angles.cos(), angles.sin()}, 1);
    Tensor estimates = at::mm(phi, phi.t()) / 50;
    estimates.fill_diagonal_(0);
    const Tensor distance = (at::arange(12).unsqueeze(0) - at::arange(12).unsqueeze(1)).abs().to(at::kDouble);
    if (pairs == "fft") estimates *= at::pow(0.7, distance);
    ASSERT_GT(estimates.sum(1).min().item<double>(), 11 * std::exp(-2.0)) << pairs;  // nothing is clipped
    EXPECT_LT((log_row_sums(z, config, {})[0] - estimates.sum(1).log()).abs().max().item<double>(), 1e-10) << pairs;  // float64 rounding
  }
}

TEST(EntanglementPairSums, EstimatesApproachTheMatrix) {
  const Tensor z = unit(normal({2, 40, 6}, 3) + 0.5);
  const Tensor all = kernels(z, 0.5);
  const Tensor distance = (at::arange(40).unsqueeze(0) - at::arange(40).unsqueeze(1)).abs().to(at::kDouble);
  const Tensor weights = at::pow(0.8, distance) * (distance > 0);
  struct Case {
    std::string pairs;
    Tensor weights;
    double tolerance;
  };
  // Trigonometric: sd of a pair <= 1/sqrt(2 * 20,000) = 0.005 of kernels e^((x.y - 1)/tau) whose mean is about 0.3, and row means are less noisy.
  // Positive features have heavy tails: e^(x.y / tau) times sqrt((e^(|x+y|^2 / tau) - 1) / 20,000), up to 0.4 for equal vectors, less in sums.
  const Tensor equal = at::ones({40, 40}, at::kDouble);
  for (const Case& item : {Case{"random_features", equal, 0.06}, Case{"positive_features", equal, 0.3}, Case{"fft", weights, 0.06}}) {
    const Config config{.scope = "sequence", .temperature = 0.5, .pairs = item.pairs, .frequencies = 20'000, .window_decay = 0.8};
    const Tensor expected = all * item.weights;
    EXPECT_LT((log_row_sums(z, config, {}) - expected.sum(2).log()).abs().max().item<double>(), item.tolerance) << item.pairs;
    const Tensor share = (item.weights * (1 - at::eye(40, at::kDouble))).sum();
    EXPECT_LT((log_pair_mean(z, config, {}) - (expected.sum({1, 2}) / share).log()).abs().max().item<double>(), item.tolerance) << item.pairs;
  }
}

TEST(EntanglementPairSums, ImpossibleEstimatesAreSetToTheSmallestSum) {
  const Tensor z = unit(normal({1, 60, 16}, 4)).requires_grad_();
  const Config config{.temperature = 0.25, .pairs = "random_features", .frequencies = 2};
  const Tensor rows = log_row_sums(z, config, {});
  const double least = std::log(59.0) - 4.0;  // 59 candidates with cosine -1
  const Tensor clipped = (rows - least).abs() < 1e-9;
  EXPECT_GT(clipped.sum().item<int64_t>(), 0);
  EXPECT_LT(clipped.sum().item<int64_t>(), 60);
  EXPECT_GE(rows.min().item<double>(), least - 1e-9);
}

TEST(EntanglementPairSums, CountsMatrixProducts) {
  const Config exact{.width = 4, .pairs = "exact"}, features{.width = 4, .pairs = "random_features", .frequencies = 10};
  EXPECT_EQ(pair_flops(exact, 2, 8, 1, 1), 8.0 * 16 * 16 * 4);
  EXPECT_EQ(pair_flops(exact, 2, 8, 1, 3), 8.0 * 16 * 48 * 4);  // this rank's positions with those of all three
  EXPECT_EQ(pair_flops({.width = 4, .scope = "sequence", .pairs = "exact"}, 2, 8, 1, 3), 8.0 * 16 * 8 * 4);
  EXPECT_EQ(pair_flops({.width = 4, .scope = "sequence", .pairs = "exact"}, 2, 8, 2, 1), 8.0 * 16 * 16 * 4);
  EXPECT_EQ(pair_flops({.width = 4, .loss = "contraclm"}, 1024, 8, 2, 1), 8.0 * 8192 * 16 * 4);  // by row, so exact however long the batch
  EXPECT_EQ(pair_flops(features, 2, 8, 1, 1), 12.0 * 16 * 10 * 4);
  EXPECT_EQ(pair_flops({.width = 4, .loss = "decov"}, 2, 8, 1, 1), 6.0 * 16 * 16);
}

}  // namespace
}  // namespace entrain::entanglement
