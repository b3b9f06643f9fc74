#include "entrain/ops/pairs.h"
#include "gradients.h"
#include "largest_allocation.h"

namespace entrain::ops {
namespace {

using namespace testing;

constexpr double kTemperature = 0.5;
constexpr FeatureMap kMaps[] = {FeatureMap::kTrigonometric, FeatureMap::kPositive};

Tensor unit(Tensor x) { return x / x.norm(2, -1, true); }

Tensor frequencies_of(int64_t m, int64_t width, uint64_t seed = 3) { return normal({m, width}, 1 / std::sqrt(kTemperature), seed); }

/// Blocks of `width` rows: the lengths of independent normal rows times the rows of a random orthogonal matrix.
Tensor orthogonal_frequencies(int64_t m, int64_t width, uint64_t seed = 3) {
  std::vector<Tensor> blocks;
  for (int64_t begin = 0; begin < m; begin += width, seed += 2) {
    const Tensor rows = std::get<0>(at::linalg_qr(normal({width, width}, 1, seed))).t();
    blocks.push_back(rows * normal({width, width}, 1, seed + 1).norm(2, -1, true));
  }
  return at::cat(blocks).narrow(0, 0, m) / std::sqrt(kTemperature);
}

/// (G, n, F), straight from the formulas.
Tensor features_of(const Tensor& z, const Tensor& w, FeatureMap map) {
  const Tensor angles = at::matmul(z, w.t().to(z.scalar_type()));
  const double scale = 1 / std::sqrt(static_cast<double>(w.size(0)));
  if (map == FeatureMap::kTrigonometric) return at::cat({angles.cos(), angles.sin()}, -1) * scale;
  return (angles - z.square().sum(-1, true) / (2 * kTemperature)).exp() * scale;
}

Function sum_with(Tensor w, FeatureMap map) {
  return [=](const auto& in) { return feature_sum(in[0], w.to(in[0].scalar_type()), kTemperature, map); };
}
Function dot_with(Tensor w, FeatureMap map) {
  return [=](const auto& in) { return feature_dot(in[0], w.to(in[0].scalar_type()), in[1], kTemperature, map); };
}
Function weighted_with(Tensor w, Tensor weights, FeatureMap map) {
  return [=](const auto& in) { return distance_weighted_sums(in[0], w.to(in[0].scalar_type()), weights, kTemperature, map); };
}

TEST(RandomFeatures, FloatMatchesDoubleOverOddShapes) {
  for (const FeatureMap map : kMaps) {
    const int64_t per_frequency = map == FeatureMap::kTrigonometric ? 2 : 1;
    for (int64_t groups = 1; groups <= 3; ++groups) {
      for (const int64_t n : {1, 2, 3, 17, 300, 4099}) {
        for (const int64_t m : {1, 7, 32, 37}) {
          if (n > 4096 && (m != 37 || groups != 2)) continue;
          const Tensor z = unit(normal({groups, n, 13})), w = frequencies_of(m, 13);
          // Angles of about 5 are rounded at 5e-7, and so are features; sums grow with n and are compared at their size.
          expect_float_matches_double(sum_with(w, map), {z}, 1e-5);
          expect_float_matches_double(dot_with(w, map), {z, normal({groups, per_frequency * m}, 1, 4)}, 1e-5);
        }
      }
    }
  }
}

TEST(RandomFeatures, LargeAnglesAndVectorsFarFromUnit) {
  // Angles of up to 1e4, rounded at 5e-4: more of them cannot be asked of float32.
  const Tensor z = normal({1, 40, 5}, 1e3), w = frequencies_of(19, 5);
  const Tensor ours = feature_sum(z, w, kTemperature, FeatureMap::kTrigonometric);
  const Tensor exact = features_of(z.to(at::kDouble), w.to(at::kDouble), FeatureMap::kTrigonometric).sum(1);
  EXPECT_LE((ours - exact).abs().max().item<double>(), 40 / std::sqrt(19) * 1e-3);
  Tensor bad = unit(normal({1, 40, 5}));
  bad[0][7][1] = INFINITY;
  for (const Tensor& grad : run_both_ways(sum_with(w, FeatureMap::kTrigonometric), {bad})) EXPECT_TRUE(grad.isnan().any().item<bool>());
}

TEST(RandomFeatures, MatchTheirFormula) {
  const Tensor z = unit(normal({2, 23, 8})).to(at::kDouble), w = frequencies_of(9, 8).to(at::kDouble);
  for (const FeatureMap map : kMaps) {
    const Tensor phi = features_of(z, w, map), sum = feature_sum(z, w, kTemperature, map);
    EXPECT_TRUE(at::allclose(sum, phi.sum(1), 1e-12, 1e-13));
    EXPECT_TRUE(at::allclose(feature_dot(z, w, sum, kTemperature, map), at::matmul(phi, phi.sum(1).unsqueeze(2)).squeeze(2), 1e-12, 1e-13));
  }
}

TEST(RandomFeatures, GradientsMatchDifferences) {
  const Tensor w = frequencies_of(4, 3);
  for (const FeatureMap map : kMaps) {
    const int64_t width = map == FeatureMap::kTrigonometric ? 8 : 4;
    expect_gradients_match_differences(sum_with(w, map), {normal({2, 5, 3}, 0.7)});
    expect_gradients_match_differences(dot_with(w, map), {normal({2, 5, 3}, 0.7), normal({2, width}, 1, 2)});
    const Function row_sums = [&](const auto& in) { return dot_with(w, map)({in[0], sum_with(w, map)(in)}); };
    expect_gradients_match_differences(row_sums, {normal({2, 5, 3}, 0.7)});
    expect_gradients_match_differences(weighted_with(w, at::tensor({9.0, 0.5, 0.3, -0.2, 0.1}, at::kDouble), map), {normal({2, 5, 3}, 0.7)});
  }
}

// Means over 4e5 frequencies: sampling errors of 1e-3 of the trigonometric estimate, and of 5e-3 of the positive one, whose
// second moment is e^(2 |x + y|^2 / 2 tau) (arXiv 2009.14794, lemma 2); four times that is let through.
TEST(RandomFeatures, EstimateTheirKernels) {
  const Tensor x = unit(normal({1, 1, 16})), y = unit(x + 0.7 * unit(normal({1, 1, 16}, 1, 2))), w = frequencies_of(400'000, 16);
  const double dot = (x * y).sum().item<double>();
  const auto estimate = [&](FeatureMap map) {
    return feature_dot(x, w, feature_sum(y, w, kTemperature, map), kTemperature, map).item<double>();
  };
  EXPECT_NEAR(estimate(FeatureMap::kTrigonometric), std::exp((dot - 1) / kTemperature), 4e-3);
  const double softmax_kernel = std::exp(dot / kTemperature), second_moment_root = std::exp((2 + 2 * dot) / (2 * kTemperature)) * softmax_kernel;
  EXPECT_NEAR(estimate(FeatureMap::kPositive), softmax_kernel, 4 * second_moment_root / std::sqrt(4e5));
}

TEST(RandomFeatures, SumsAreCloseToExactSums) {
  const Tensor z = unit(normal({1, 2048, 64})).to(at::kDouble), w = orthogonal_frequencies(256, 64).to(at::kDouble);
  const Tensor exact = ((at::matmul(z, z.transpose(1, 2)) - 1) / kTemperature).exp().sum(2);
  const Tensor rows = feature_dot(z, w, feature_sum(z, w, kTemperature, FeatureMap::kTrigonometric), kTemperature, FeatureMap::kTrigonometric);
  EXPECT_LT(std::abs((rows.sum() / exact.sum() - 1).item<double>()), 0.05);
  EXPECT_LT((rows / exact - 1).square().mean().sqrt().item<double>(), 0.10);
}

// (1 - k^2)^2 / (2m) for independent frequencies. The variance of 1e4 draws is itself uncertain by sqrt(2 / 1e4) = 1.4 %.
TEST(RandomFeatures, VarianceOfATrigonometricPair) {
  constexpr int64_t kDraws = 10'000, kFrequencies = 8;
  const Tensor x = unit(normal({1, 1, 8})), y = unit(x + unit(normal({1, 1, 8}, 1, 2)));
  const double k = std::exp(((x * y).sum().item<double>() - 1) / kTemperature);
  const Tensor w = frequencies_of(kDraws * kFrequencies, 8);
  Tensor estimates = at::empty({kDraws}, at::kDouble);
  for (int64_t i = 0; i < kDraws; ++i) {
    const Tensor own = w.narrow(0, i * kFrequencies, kFrequencies);
    const Tensor sum = feature_sum(y, own, kTemperature, FeatureMap::kTrigonometric);
    estimates[i] = feature_dot(x, own, sum, kTemperature, FeatureMap::kTrigonometric).item<double>();
  }
  const double expected = (1 - k * k) * (1 - k * k) / (2 * kFrequencies);
  EXPECT_NEAR(estimates.mean().item<double>(), k, 5 * std::sqrt(expected / kDraws));
  EXPECT_NEAR(estimates.var().item<double>(), expected, 0.1 * expected);
}

TEST(RandomFeatures, SumsOverPartsAddUpToTheWhole) {
  const Tensor z = unit(normal({2, 60, 8})).to(at::kDouble), w = frequencies_of(16, 8).to(at::kDouble);
  for (const FeatureMap map : kMaps) {
    const auto parts = z.split(17, 1);
    Tensor sum = at::zeros_like(feature_sum(parts[0], w, kTemperature, map));
    for (const Tensor& part : parts) sum = sum + feature_sum(part, w, kTemperature, map);
    std::vector<Tensor> rows;
    for (const Tensor& part : parts) rows.push_back(feature_dot(part, w, sum, kTemperature, map));
    const Tensor whole = feature_dot(z, w, feature_sum(z, w, kTemperature, map), kTemperature, map);
    EXPECT_TRUE(at::allclose(at::cat(rows, 1), whole, 1e-13, 1e-13));
  }
}

TEST(RandomFeatures, RepeatAndAreTheSameWithoutGradients) {
  const Tensor w = frequencies_of(32, 16), z = unit(normal({2, 5000, 16}));
  for (const FeatureMap map : kMaps) {
    expect_repeats(sum_with(w, map), {z});
    expect_repeats(dot_with(w, map), {z, normal({2, map == FeatureMap::kTrigonometric ? 64 : 32}, 1, 2)});
  }
}

TEST(RandomFeatures, StoreNoMatrixOfFeatures) {
  const Tensor z = unit(normal({1, 32768, 8})).requires_grad_(), w = frequencies_of(64, 8);
  for (const FeatureMap map : kMaps) {
    const LargestAllocation largest;
    feature_dot(z, w, feature_sum(z, w, kTemperature, map), kTemperature, map).sum().backward();
    EXPECT_LE(largest.bytes(), 4096 * 128 * 4);  // the features have 4 or 8 times that
  }
}

TEST(RandomFeatures, RejectWrongArguments) {
  const Tensor z = normal({2, 4, 8}), w = frequencies_of(3, 8);
  EXPECT_THROW(feature_sum(z, frequencies_of(3, 7), 1, FeatureMap::kPositive), c10::Error);
  EXPECT_THROW(feature_sum(z, w, 0, FeatureMap::kPositive), c10::Error);
  EXPECT_THROW(feature_sum(z[0], w, 1, FeatureMap::kPositive), c10::Error);
  EXPECT_THROW(feature_dot(z, w, at::ones({2, 3}), 1, FeatureMap::kTrigonometric), c10::Error);
  EXPECT_THROW(distance_weighted_sums(z, w, at::ones({3}), 1, FeatureMap::kPositive), c10::Error);
}

TEST(DistanceWeightedSums, EqualTheDirectSum) {
  for (const FeatureMap map : kMaps) {
    for (const int64_t n : {1, 2, 3, 17, 64, 300}) {
      const Tensor z = unit(normal({2, n, 8})).to(at::kDouble), w = frequencies_of(11, 8).to(at::kDouble);
      const Tensor decay = at::pow(0.9, at::arange(n).to(at::kDouble)), arbitrary = normal({n}).to(at::kDouble);
      const Tensor distance = (at::arange(n).unsqueeze(1) - at::arange(n)).abs();
      for (const Tensor& weights : {decay, arbitrary}) {
        const Tensor phi = features_of(z, w, map);
        const Tensor pairs = at::matmul(phi, phi.transpose(1, 2)) * weights.index({distance}) * (distance != 0);
        const Tensor ours = distance_weighted_sums(z, w, weights, kTemperature, map);
        EXPECT_LE((ours - pairs.sum(2)).abs().max().item<double>(), 1e-10) << n;
      }
    }
  }
}

// A weight at the largest distance alone joins the two ends only; in a circular convolution it would join all neighbours.
TEST(DistanceWeightedSums, NothingWrapsAround) {
  for (const int64_t n : {3, 8, 16}) {
    const Tensor z = unit(normal({1, n, 4})).to(at::kDouble), w = frequencies_of(5, 4).to(at::kDouble);
    Tensor weights = at::zeros({n}, at::kDouble);
    weights[0] = 7;  // not used
    weights[n - 1] = 1;
    const Tensor sums = distance_weighted_sums(z, w, weights, kTemperature, FeatureMap::kTrigonometric)[0];
    const Tensor phi = features_of(z, w, FeatureMap::kTrigonometric)[0];
    const double ends = (phi[0] * phi[n - 1]).sum().item<double>();
    EXPECT_NEAR(sums[0].item<double>(), ends, 1e-12);
    EXPECT_NEAR(sums[n - 1].item<double>(), ends, 1e-12);
    EXPECT_LE(sums.slice(0, 1, n - 1).abs().max().item<double>(), 1e-12);
  }
}

TEST(DistanceWeightedSums, FloatMatchesDouble) {
  for (const FeatureMap map : kMaps) {
    const Tensor weights = at::pow(0.8, at::arange(300).to(at::kDouble));
    expect_float_matches_double(weighted_with(frequencies_of(37, 13), weights, map), {unit(normal({3, 300, 13}))}, 1e-5);
  }
}

TEST(DistanceWeightedSums, RepeatsAndStoresNoMatrixOfFeatures) {
  const Tensor weights = at::pow(0.8, at::arange(4096)), w = frequencies_of(256, 2), z = unit(normal({1, 4096, 2}));
  const LargestAllocation largest;
  expect_repeats(weighted_with(w, weights, FeatureMap::kTrigonometric), {z});
  EXPECT_LE(largest.bytes(), (4 << 20) + 4096);  // padded and transformed, the features have 4 times that
}

}  // namespace
}  // namespace entrain::ops
