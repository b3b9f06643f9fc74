#include "entrain/modalities/losses.h"

#include <cmath>

#include "entrain/modalities/retrieval.h"
#include "../ops/gradients.h"

namespace entrain::modalities {
namespace {

using ops::testing::expect_gradients_match_differences;
using ops::testing::normal;

Tensor unit(const Tensor& x) { return x / x.norm(2, {1}, true); }
Tensor scale_of(double value) { return at::scalar_tensor(value, at::kDouble); }

// From the definition, element by element.
TEST(ModalityLosses, InfoNceEqualsItsDefinition) {
  const Tensor a = unit(normal({5, 3}, 1, 1)).to(at::kDouble), b = unit(normal({5, 3}, 1, 2)).to(at::kDouble);
  double sum = 0;
  for (int64_t i = 0; i < 5; ++i) {
    double rows = 0, columns = 0;
    for (int64_t j = 0; j < 5; ++j) {
      rows += std::exp(7.0 * a[i].dot(b[j]).item<double>());
      columns += std::exp(7.0 * a[j].dot(b[i]).item<double>());
    }
    sum += std::log(rows) + std::log(columns) - 14.0 * a[i].dot(b[i]).item<double>();
  }
  EXPECT_NEAR(symmetric_info_nce(a, b, scale_of(7)).item<double>(), sum / 10, 1e-12);
  const Tensor same = at::ones({6, 2}, at::kDouble);
  EXPECT_NEAR(symmetric_info_nce(same, same, scale_of(3)).item<double>(), std::log(6.0), 1e-12) << "collapsed: log B";
}

TEST(ModalityLosses, UniformityEqualsItsDefinition) {
  const Tensor z = unit(normal({4, 3}, 1, 3)).to(at::kDouble);
  double sum = 0;
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) sum += i == j ? 0.0 : std::exp(-2.0 * (z[i] - z[j]).square().sum().item<double>());
  }
  EXPECT_NEAR(uniformity(z).item<double>(), std::log(sum / 12), 1e-12);
  EXPECT_NEAR(uniformity(at::ones({4, 2}, at::kDouble)).item<double>(), 0.0, 1e-12) << "collapsed: 0, the largest";
}

TEST(ModalityLosses, GradientsMatchDifferences) {
  expect_gradients_match_differences([](const std::vector<Tensor>& x) { return symmetric_info_nce(x[0], x[1], x[2]); }, {normal({4, 3}, 1, 1), normal({4, 3}, 1, 2), at::full({1}, 2.0f)});
  expect_gradients_match_differences([](const std::vector<Tensor>& x) { return uniformity(x[0]); }, {normal({5, 3}, 0.5, 4)});
  expect_gradients_match_differences([](const std::vector<Tensor>& x) { return across_loss({x[0], x[1], x[2]}, logit_scale(x[3])).sum(); },
                                     {normal({3, 2}, 1, 5), normal({3, 2}, 1, 6), normal({3, 2}, 1, 7), at::full({1}, 0.7f)});
}

TEST(ModalityLosses, AcrossIsTheMeanOverPairs) {
  const Tensor a = normal({4, 3}, 1, 1), b = normal({4, 3}, 1, 2), c = normal({4, 3}, 1, 3), scale = at::full({1}, 2.0f);
  const double expected = (symmetric_info_nce(a, b, scale) + symmetric_info_nce(a, c, scale) + symmetric_info_nce(b, c, scale)).item<double>() / 3;
  EXPECT_NEAR(across_loss({a, b, c}, scale).item<double>(), expected, 1e-6);
  EXPECT_NEAR(across_loss({a, b}, scale).item<double>(), symmetric_info_nce(a, b, scale).item<double>(), 1e-7);
}

TEST(ModalityLosses, TheLogitScaleIsBounded) {
  Tensor log_scale = at::full({1}, std::log(kInitialLogitScale), at::kDouble).requires_grad_();
  EXPECT_NEAR(logit_scale(log_scale).item<double>(), 1 / 0.07, 1e-9);
  log_scale = at::full({1}, 6.0, at::kDouble).requires_grad_();
  const Tensor scale = logit_scale(log_scale);
  EXPECT_EQ(scale.item<double>(), 100.0);
  scale.backward();
  EXPECT_EQ(log_scale.grad().item<double>(), 0.0);
}

TEST(Retrieval, CountsRanksOnConstructedEmbeddings) {
  const int64_t n = 12;
  const Tensor eye = at::eye(n);
  EXPECT_EQ(retrieve(eye, eye).recall, (std::array<double, 3>{1, 1, 1}));
  EXPECT_EQ(retrieve(eye, eye).reciprocal_rank, 1.0);
  // Query i scores candidates before its own higher and those after it lower: exactly i are better.
  const Tensor scores = at::zeros({n, n});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) scores[i][j] = j == i ? 0.0 : (j < i ? 1.0 : -1.0);
  }
  const Retrieval ranks = retrieve(scores, eye);  // query i . candidate j = scores[i][j], ranks 1..12
  EXPECT_NEAR(ranks.recall[0], 1.0 / 12, 1e-12);
  EXPECT_NEAR(ranks.recall[1], 5.0 / 12, 1e-12);
  EXPECT_NEAR(ranks.recall[2], 10.0 / 12, 1e-12);
  double harmonic = 0;
  for (int i = 1; i <= 12; ++i) harmonic += 1.0 / i / 12;
  EXPECT_NEAR(ranks.reciprocal_rank, harmonic, 1e-12);
}

TEST(Retrieval, ACollapsedSpaceFindsNothing) {
  const Tensor point = at::ones({101, 1});
  const Retrieval collapsed = retrieve(point, point);
  EXPECT_EQ(collapsed.recall, (std::array<double, 3>{0, 0, 0}));
  EXPECT_NEAR(collapsed.reciprocal_rank, 1.0 / 51, 1e-12) << "the middle rank";
  EXPECT_NEAR(chance(2, 500), 0.02, 1e-15);
  EXPECT_EQ(chance(2, 4), 1.0);
}

TEST(Retrieval, TheGapIsTheDistanceOfTheMeans) {
  const Tensor a = at::tensor({1.0f, 0.0f, 0.0f, 1.0f}).view({2, 2}), b = -a;
  EXPECT_NEAR(modality_gap(a, b), std::sqrt(2.0), 1e-6);
  EXPECT_EQ(modality_gap(a, a.flip(0)), 0.0);
}

}  // namespace
}  // namespace entrain::modalities
