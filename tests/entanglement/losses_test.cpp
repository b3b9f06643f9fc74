#include "entrain/entanglement/losses.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <map>

#include "entrain/entanglement/pair_sums.h"
#include "loss_cases.h"

namespace entrain::entanglement {
namespace {

/// All positions of the micro-batch as z (n, d), scores, kernels without the diagonal, the matrix of positives and its weighted mean.
struct Dense {
  Tensor v, z, scores, kernel, a, weights;
  double temperature;
  Dense(const Tensor& given, const Config& config, const Context& context) : v(given.view({-1, given.size(2)})), z(unit(v)), temperature(config.temperature) {
    const auto positives = make_positives(config, context);
    a = matrix_of(*positives);
    weights = positives->row_weights() / positives->row_weights().sum();
    scores = at::mm(z, z.t()) / temperature;
    kernel = scores.exp() * (1 - at::eye(z.size(0), at::kDouble));
  }
  double n() const { return static_cast<double>(z.size(0)); }
  Tensor lse() const { return kernel.sum(1).log(); }
  Tensor mean_scores() const { return (scores.sum(1) - scores.diagonal()) / (n() - 1); }
  double alignment(const Tensor& x) const { return (weights * (a * at::cdist(x, x).square()).sum(1)).sum().item<double>(); }
};

TEST(EntanglementLoss, PairLossesAreTheirEquations) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  for (const std::string positives : {"next", "window", "same_token", "ppmi", "random"}) {
    const Config config = config_of("infonce", positives);
    const Dense m(v, config, batch.context);
    const Tensor rows = m.lse() - 0.9 * (m.a * m.scores).sum(1) - 0.1 * m.mean_scores();
    EXPECT_NEAR(batch.value(v, config), (m.weights * rows).sum().item<double>(), kRounding) << positives;
    // The same number from the cross-entropy of P with the smoothed target.
    const Tensor log_p = m.scores - m.lse().unsqueeze(1), off = 1 - at::eye(kAll, at::kDouble);
    const Tensor target = 0.9 * m.a + 0.1 / (m.n() - 1) * off;
    EXPECT_NEAR(batch.value(v, config), (m.weights * -(target * log_p).sum(1)).sum().item<double>(), kRounding) << positives;
    const double uniform = (m.kernel.sum() / (m.n() * (m.n() - 1))).log().item<double>() - 1 / m.temperature;
    EXPECT_NEAR(batch.value(v, config_of("align_uniform", positives)), m.alignment(m.z) + 0.7 * uniform, kRounding) << positives;
  }
}

TEST(EntanglementLoss, LossesWithoutPositivesAreTheirEquations) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  const Dense m(v, config_of("literal"), batch.context);
  const Tensor p = m.kernel / m.kernel.sum(1, true), off = 1 - at::eye(kAll, at::kDouble);
  const double uniform = 1 / (m.n() - 1);
  const Tensor divergence = (off * uniform * (std::log(uniform) - (p + at::eye(kAll, at::kDouble)).log())).sum(1).mean();
  EXPECT_NEAR(batch.value(v, config_of("literal")), divergence.item<double>(), kRounding);

  const Tensor entropy = -at::xlogy(p, p).sum(1);
  Config floor = config_of("entropy_floor");
  floor.entropy_share = 0.9;
  const Tensor shortfall = (0.9 * std::log(m.n() - 1) - entropy).clamp_min(0);
  EXPECT_GT(shortfall.sum().item<double>(), 0.0);
  EXPECT_NEAR(batch.value(v, floor), m.alignment(m.z) + 0.7 * shortfall.mean().item<double>(), kRounding);

  const Tensor cosines = m.scores * m.temperature;
  EXPECT_NEAR(batch.value(v, config_of("simctg")), ((cosines - 0.5).clamp_min(0) * off).sum().item<double>() / (m.n() * (m.n() - 1)), kRounding);
  EXPECT_NEAR(batch.value(v, config_of("cosreg")), (cosines * off).sum().item<double>() / (m.n() * m.n()), kRounding);
}

TEST(EntanglementLoss, ScopeSequenceLeavesOtherRowsOut) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  Config config = config_of("infonce");
  config.scope = "sequence";
  double expected = 0, uniform = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    MicroBatch one(1, 1);
    one.context.ids = batch.context.ids.narrow(0, row, 1);
    const Dense m(v.narrow(0, row, 1), config, one.context);
    expected += (m.weights * (m.lse() - 0.9 * (m.a * m.scores).sum(1) - 0.1 * m.mean_scores())).sum().item<double>() / kRows;
    uniform += one.value(v.narrow(0, row, 1), config_of("align_uniform")) / kRows;
  }
  EXPECT_NEAR(batch.value(v, config), expected, kRounding);
  config.loss = "align_uniform";
  EXPECT_NEAR(batch.value(v, config), uniform, kRounding);
}

TEST(EntanglementLoss, ContraclmComparesTwoViewsOfARow) {
  const MicroBatch batch(2);
  const Tensor v = normal({kRows, kPositions, kWidth}, 5), z = unit(v);
  Config config = config_of("contraclm", "views");
  double expected = 0;
  for (int64_t row = 0; row < 2; ++row) {
    const Tensor both = at::cat({z[row], z[row + 2]}), scores = at::mm(both, both.t()) / config.temperature;
    const Tensor lse = (scores.exp() * (1 - at::eye(2 * kPositions, at::kDouble))).sum(1).log();
    expected += (lse - scores.diagonal(kPositions).repeat({2})).sum().item<double>() / kAll;
  }
  EXPECT_NEAR(batch.value(v, config), expected, kRounding);
}

Tensor covariance(const Tensor& x, const Tensor& weights) {
  const Tensor middle = x - (weights.unsqueeze(1) * x).sum(0);
  return at::mm(middle.t(), middle * weights.unsqueeze(1));
}
Tensor correlation(const Tensor& covariance) { return covariance / at::outer(covariance.diagonal().sqrt(), covariance.diagonal().sqrt()); }
double off_squares(const Tensor& x) { return (x - at::diag(x.diagonal())).square().sum().item<double>(); }

TEST(EntanglementLoss, CorrelationLossesAreTheirEquations) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  const Config config = config_of("barlow", "same_token");
  const Dense m(v, config, batch.context);
  const Tensor r = correlation(covariance(m.v, at::full({kAll}, 1.0 / kAll, at::kDouble)));
  EXPECT_NEAR(batch.value(v, config_of("decov")), 0.5 * off_squares(r), kRounding);
  EXPECT_NEAR(batch.value(v * 0.01, config_of("decov")), 0.5 * off_squares(r), 1e-6);  // shrinking gains nothing, but for the 1e-12 added to variances
  EXPECT_NEAR(batch.value(v, config_of("total_correlation")), -0.5 * at::det(0.99 * r + 0.01 * at::eye(kWidth, at::kDouble)).log().item<double>(), kRounding);

  const Tensor other = at::mm(m.a, m.v), joint = covariance(at::cat({m.v, other}, 1), m.weights);
  const Tensor cross = correlation(joint).narrow(0, 0, kWidth).narrow(1, kWidth, kWidth);
  EXPECT_NEAR(batch.value(v, config), (1 - cross.diagonal()).square().sum().item<double>() + 5e-3 * off_squares(cross), kRounding);

  double expected = 25 * (m.weights * (m.v - other).square().mean(1)).sum().item<double>();
  for (const Tensor& c : {covariance(m.v, m.weights), covariance(other, m.weights)}) {
    expected += 25 * (1 - (c.diagonal() + 1e-4).sqrt()).clamp_min(0).mean().item<double>() + off_squares(c) / kWidth;
  }
  EXPECT_NEAR(batch.value(v, config_of("vicreg", "same_token")), expected, kRounding);
}

/// (n, 2m) features at the frequencies of the micro-batch.
Tensor features(const Tensor& x, const Config& config, const Context& context) {
  const Tensor angles = at::mm(x, draw_frequencies(config, context, x.size(1), at::kDouble).t());
  return at::cat({angles.cos(), angles.sin()}, 1) / std::sqrt(static_cast<double>(config.frequencies));
}

TEST(EntanglementLoss, HsicIsThatOfTheKernelMatrices) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  const Config config = config_of("hsic", "random");  // every position has one positive: the rows weigh equally
  const Dense m(v, config, batch.context);
  const Tensor phi = features(m.z, config, batch.context), k = at::mm(phi, phi.t());
  const Tensor h = at::eye(kAll, at::kDouble) - 1.0 / kAll;
  const double scale = (kAll - 1.0) * (kAll - 1.0);
  const double with_a = at::trace(at::linalg_multi_dot({k, h, kAll * m.a, h})).item<double>() / scale;
  const double with_z = at::trace(at::linalg_multi_dot({k, h, k, h})).item<double>() / scale;
  EXPECT_NEAR(batch.value(v, config), 3 * std::sqrt(with_z + 1e-12) - with_a, kRounding);

  const Tensor tags = batch.context.attribute.view(-1), tagged = at::nonzero(tags >= 0).squeeze(1), values = tags.index_select(0, tagged);
  const Tensor equal = (values.unsqueeze(0) == values.unsqueeze(1)).to(at::kDouble), n = at::scalar_tensor(static_cast<double>(tagged.size(0)), at::kDouble);
  const Tensor centring = at::eye(tagged.size(0), at::kDouble) - 1 / n, kernel = k.index_select(0, tagged).index_select(1, tagged);
  const double dependence = (at::trace(at::linalg_multi_dot({kernel, centring, equal, centring})) / (n * n)).item<double>();
  EXPECT_GT(dependence, 1e-4);
  Config attribute = config_of("attribute_hsic");
  attribute.attribute_weight = 2.5;
  EXPECT_NEAR(batch.value(v, attribute), 2.5 * dependence + batch.value(v, config_of("decov")), kRounding);
}

TEST(EntanglementLoss, EcfIsTheMeanOverItsFrequencies) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  const Config config = config_of("ecf");
  const Dense m(v, config, batch.context);
  const Tensor x = m.v / std::sqrt(static_cast<double>(kWidth)), w = draw_frequencies(config, batch.context, kWidth, at::kDouble), angles = at::mm(x, w.t());
  const Tensor gap = (angles.cos().mean(0) - (w.square().sum(1) / (-2.0 * kWidth)).exp()).square() + angles.sin().mean(0).square();
  EXPECT_NEAR(batch.value(v, config), m.alignment(x) + 0.7 * gap.mean().item<double>(), kRounding);
}

TEST(EntanglementLoss, SigregIsTheIntegralAlongItsSlices) {
  const MicroBatch batch;
  const Tensor v = normal({kRows, kPositions, kWidth}, 5);
  const Config config = config_of("sigreg");
  const Dense m(v, config, batch.context);
  RandomStream random = stream(0, "entanglement/slices", batch.context.step, 0);
  double expected = 0;
  for (int64_t slice = 0; slice < config.slices; ++slice) {
    Tensor direction = at::empty({kWidth}, at::kDouble);
    for (int64_t i = 0; i < kWidth; ++i) direction[i] = random.next_normal();
    const Tensor y = at::mv(m.v, direction / direction.norm());
    for (int point = -8; point <= 8; ++point) {
      const double t = 0.5 * point, bell = std::exp(-t * t / 2), real = (t * y).cos().mean().item<double>() - bell, imaginary = (t * y).sin().mean().item<double>();
      expected += (point == -8 || point == 8 ? 0.25 : 0.5) * (real * real + imaginary * imaginary) * bell / static_cast<double>(config.slices);
    }
  }
  EXPECT_NEAR(batch.value(v, config), m.alignment(m.v / std::sqrt(static_cast<double>(kWidth))) + 0.7 * expected, kRounding);
}

TEST(EntanglementLoss, GaussianTargetsAreNearlyMetByGaussians) {
  constexpr int64_t kMany = 4000;
  MicroBatch batch(1, kMany / kPositions);
  const Tensor gaussian = normal({kMany / kPositions, kPositions, kWidth}, 6);
  for (const std::string name : {"ecf", "sigreg"}) {
    Config config = config_of(name);
    config.uniformity_weight = 1.0;
    const auto distance = [&](const Tensor& v) {  // without the alignment
      Config without = config;
      without.uniformity_weight = 0;
      return batch.value(v, config) - batch.value(v, without);
    };
    // E |ECF - CF|^2 <= 1/n at each frequency; sigreg's weights add up to less than sqrt(2 pi).
    EXPECT_LT(distance(gaussian), 3 * 2.6 / kMany) << name;
    EXPECT_GT(distance(gaussian), 0.0) << name;
    EXPECT_GT(distance(gaussian * 0.5), 0.01) << name;
    EXPECT_GT(distance(gaussian + 1.0), 0.01) << name;
    EXPECT_GT(distance(gaussian.sign()), 2e-3) << name;  // another law of equal mean and covariance
  }
}

TEST(EntanglementLoss, WithoutPairsOrPositivesIsZero) {
  const MicroBatch batch;
  Context single = batch.context;
  single.ids = at::zeros({1, 1}, at::kLong);
  for (const std::string name : {"infonce", "literal", "align_uniform", "decov", "vicreg"}) {
    const Tensor v = normal({1, 1, kWidth}, 1).requires_grad_();
    const Tensor value = loss(v, config_of(name), single, *make_positives(config_of(name), single));
    EXPECT_EQ(value.item<double>(), 0.0) << name;
    EXPECT_EQ(torch::autograd::grad({value}, {v})[0].abs().sum().item<double>(), 0.0) << name;
  }
  Context distinct = batch.context;  // no token occurs twice
  distinct.ids = at::arange(kAll, at::kLong).view({kRows, kPositions});
  distinct.statistics = nullptr;
  const Tensor v = normal({kRows, kPositions, kWidth}, 1).requires_grad_();
  const Config config = config_of("infonce", "same_token");
  const Tensor value = loss(v, config, distinct, *make_positives(config, distinct));
  EXPECT_EQ(value.item<double>(), 0.0);
  EXPECT_EQ(torch::autograd::grad({value}, {v})[0].abs().sum().item<double>(), 0.0);
}

TEST(EntanglementLoss, CollapseIsTheMinimumOfTheLiteralLossAlone) {
  const MicroBatch batch;
  const Tensor collapsed = at::ones({kRows, kPositions, kWidth}, at::kDouble), spread = normal({kRows, kPositions, kWidth}, 5);
  EXPECT_NEAR(batch.value(collapsed, config_of("literal")), 0.0, kRounding);
  EXPECT_GT(batch.value(spread, config_of("literal")), 0.1);
  for (const std::string name : {"simctg", "cosreg"}) EXPECT_GT(batch.value(collapsed, config_of(name)), batch.value(spread, config_of(name)) + 0.1) << name;
  // Uniformity is 0 at collapse, its maximum.
  EXPECT_NEAR(batch.value(collapsed, config_of("align_uniform")), 0.0, kRounding);
  EXPECT_LT(batch.value(spread, config_of("align_uniform", "random")), 2.1);
  EXPECT_NEAR(batch.value(collapsed, config_of("infonce")), std::log(kAll - 1.0), kRounding);
}

TEST(EntanglementLoss, FloorsAreNotCrossed) {
  const MicroBatch batch(2);
  std::map<std::string, double> floors;
  for (const std::string name : {"literal", "entropy_floor", "simctg", "ecf", "sigreg", "decov", "barlow", "vicreg", "total_correlation", "attribute_hsic", "cosreg"}) {
    floors[name] = loss_floor(config_of(name), batch.context);
    for (uint64_t seed = 1; seed < 4; ++seed) EXPECT_GE(batch.value(normal({kRows, kPositions, kWidth}, seed), config_of(name)), floors[name]) << name;
  }
  EXPECT_EQ(floors["literal"], 0.0);
  EXPECT_EQ(floors["cosreg"], -1.0 / kAll);
  EXPECT_EQ(loss_floor(config_of("infonce"), batch.context), -INFINITY);
}

TEST(EntanglementLoss, SoftNearestNeighbourIsItsEquation) {
  const Tensor z = normal({12, 3}, 1), labels = at::tensor({0, 0, 1, 1, 2, 2, 0, 1, 2, 3, 0, 1}, at::kLong);  // 3 occurs once
  const auto direct = [&](double temperature) {
    double sum = 0;
    for (int64_t i = 0; i < 12; ++i) {
      double same = 0, all = 0;
      for (int64_t j = 0; j < 12; ++j) {
        if (i == j) continue;
        const double kernel = std::exp(-(z[i] - z[j]).square().sum().item<double>() / temperature);
        all += kernel;
        if (labels[i].item<int64_t>() == labels[j].item<int64_t>()) same += kernel;
      }
      if (same > 0) sum -= std::log(same / all) / 11;
    }
    return sum;
  };
  const std::array<double, 3> grid = {0.5, 2.0, 8.0};
  EXPECT_NEAR(soft_nearest_neighbour(z, labels, grid), std::min({direct(0.5), direct(2.0), direct(8.0)}), kRounding);
  EXPECT_NEAR(soft_nearest_neighbour(z, labels, std::span(grid).first(1)), direct(0.5), kRounding);
  EXPECT_EQ(soft_nearest_neighbour(z, at::arange(12), grid), 0.0);
}

}  // namespace
}  // namespace entrain::entanglement
