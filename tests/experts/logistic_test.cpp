#include "entrain/experts/logistic.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/random.h"

namespace entrain::experts {
namespace {

const bool kOneThread = (at::set_num_threads(1), true);

Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  Tensor out = at::empty(shape, at::kDouble);
  RandomStream random = stream(seed, "test");
  for (int64_t k = 0; k < out.numel(); ++k) out.data_ptr<double>()[k] = random.next_normal();
  return out;
}

double largest(const Tensor& x) { return x.abs().max().item<double>(); }

/// Columns with mean 0 and standard deviation 1, by loops.
std::vector<std::vector<double>> standard_rows(const Tensor& x) {
  const auto n = static_cast<size_t>(x.size(0)), c = static_cast<size_t>(x.size(1));
  const auto value = x.accessor<double, 2>();
  std::vector<std::vector<double>> rows(n, std::vector<double>(c + 1, 1.0));
  for (size_t j = 0; j < c; ++j) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; ++i) mean += value[static_cast<int64_t>(i)][static_cast<int64_t>(j)] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) square += std::pow(value[static_cast<int64_t>(i)][static_cast<int64_t>(j)] - mean, 2) / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) rows[i][j] = (value[static_cast<int64_t>(i)][static_cast<int64_t>(j)] - mean) / std::sqrt(square);
  }
  return rows;
}

/// Predictions on the same features after a long plain gradient descent on mean log loss + ridge / 2 |w|^2, the intercept free.
std::vector<double> descend(const std::vector<std::vector<double>>& rows, const std::vector<double>& targets, const std::vector<double>& weights, double ridge) {
  const size_t n = rows.size(), c = rows[0].size();
  double total = 0;
  for (const double weight : weights) total += weight;
  std::vector<double> w(c, 0.0), p(n);
  for (int step = 0; step <= 6000; ++step) {
    std::vector<double> gradient(c, 0.0);
    for (size_t i = 0; i < n; ++i) {
      double z = 0;
      for (size_t j = 0; j < c; ++j) z += rows[i][j] * w[j];
      p[i] = 1 / (1 + std::exp(-z));
      for (size_t j = 0; j < c; ++j) gradient[j] += (p[i] - targets[i]) * rows[i][j] * weights[i] / total;
    }
    for (size_t j = 0; j < c; ++j) w[j] -= 0.5 * (gradient[j] + (j + 1 < c ? ridge * w[j] : 0));
  }
  return p;
}

TEST(Logistic, ReachesWhatGradientDescentReaches) {
  constexpr int64_t n = 120, c = 4;
  const Tensor x = normal({n, c}, 1) * at::tensor(std::vector<double>{1, 20, 0.01, 3}, at::kDouble) + 2;
  const auto rows = standard_rows(x);
  RandomStream random = stream(2, "test");
  std::vector<double> hard, soft, equal(n, 1.0), unequal;
  for (int64_t i = 0; i < n; ++i) {
    const auto& row = rows[static_cast<size_t>(i)];
    const double p = 1 / (1 + std::exp(-(1.2 * row[0] - 0.8 * row[1] + 0.3)));
    soft.push_back(p);
    hard.push_back(random.next_uniform() < p);
    unequal.push_back(0.1 + random.next_uniform());
  }
  const Tensor targets = at::stack({at::tensor(hard, at::kDouble), at::tensor(soft, at::kDouble)}, 1);
  for (const double ridge : {1e-3, 0.1}) {
    for (const bool weighted : {false, true}) {
      const Tensor got = fit_logistic(x, targets, ridge, weighted ? at::tensor(unequal, at::kDouble) : Tensor()).predict(x);
      ASSERT_EQ(got.sizes(), (std::vector<int64_t>{n, 2}));
      for (int64_t k = 0; k < 2; ++k) {
        const std::vector<double> expected = descend(rows, k == 0 ? hard : soft, weighted ? unequal : equal, ridge);
        EXPECT_LT(largest(got.select(1, k) - at::tensor(expected, at::kDouble)), 1e-5) << "ridge " << ridge << " weighted " << weighted << " target " << k << ": both stop short of the minimum";
      }
    }
  }
}

TEST(Logistic, GivesTheRatesOfTwoGroups) {
  std::vector<double> x, y;
  for (int i = 0; i < 50; ++i) x.push_back(0), y.push_back(i < 10);
  for (int i = 0; i < 20; ++i) x.push_back(1), y.push_back(i < 14);
  const Probes probes = fit_logistic(at::tensor(x, at::kDouble).unsqueeze(1), at::tensor(y, at::kDouble).unsqueeze(1), 1e-9);
  const Tensor p = probes.predict(at::tensor(std::vector<double>{0, 1}, at::kDouble).unsqueeze(1));
  EXPECT_NEAR(p[0][0].item<double>(), 0.2, 1e-6) << "the ridge moves it by about 1e-9";
  EXPECT_NEAR(p[1][0].item<double>(), 0.7, 1e-6);
  EXPECT_NEAR(probes.weight.item<double>(), std::log(0.7 / 0.3) - std::log(0.2 / 0.8), 1e-5);
}

TEST(Logistic, LeavesColumnsAloneThatNeverChange) {
  constexpr int64_t n = 90;
  const Tensor informative = normal({n, 1}, 3);
  const Tensor y = (informative + normal({n, 1}, 4) > 0).to(at::kDouble);
  for (const double constant : {0.0, 0.1, -7.3, 123456789.1, 1e12 / 3}) {
    const Tensor x = at::cat({at::full({n, 1}, constant, at::kDouble), informative}, 1);
    const Probes probes = fit_logistic(x, y), alone = fit_logistic(informative, y), linear = fit_linear(x, y);
    EXPECT_EQ(probes.weight[0][0].item<double>(), 0.0) << constant;
    EXPECT_EQ(linear.weight[0][0].item<double>(), 0.0) << constant;
    EXPECT_LT(largest(probes.predict(x) - alone.predict(informative)), 1e-9) << constant;
    EXPECT_TRUE(at::isfinite(linear.scores(x)).all().item<bool>());
  }
}

TEST(Logistic, GivesTheRateWhereNothingIsKnown) {
  const Tensor x = at::ones({40, 3}), y = (at::arange(40) < 13).to(at::kDouble).unsqueeze(1);
  EXPECT_LT(largest(fit_logistic(x, y).predict(x) - 13.0 / 40), 1e-6) << "the intercept's penalty of 1e-9";
}

TEST(Logistic, StaysFiniteWhereTheClassesSeparate) {
  for (const double scale : {1e-6, 1.0, 1e6}) {
    const Tensor x = (at::arange(30, at::kDouble).unsqueeze(1) - 14.5) * scale;
    const Tensor y = at::cat({(x > 0).to(at::kDouble), at::ones({30, 1}, at::kDouble), at::zeros({30, 1}, at::kDouble)}, 1);
    const Probes probes = fit_logistic(x, y);
    ASSERT_TRUE(at::isfinite(probes.weight).all().item<bool>() && at::isfinite(probes.bias).all().item<bool>());
    const Tensor p = probes.predict(x);
    EXPECT_TRUE(at::equal((p > 0.5).to(at::kDouble), y)) << scale;
    EXPECT_GT(p.select(1, 1).min().item<double>(), 0.999);
    EXPECT_LT(p.select(1, 2).max().item<double>(), 0.001);
  }
  const Tensor wide = normal({12, 40}, 5), y = (at::arange(12) % 2).to(at::kDouble).unsqueeze(1);  // more features than items
  EXPECT_TRUE(at::equal((fit_logistic(wide, y).predict(wide) > 0.5).to(at::kDouble), y));
}

TEST(Logistic, FitsEveryTargetApartAndInAnyUnits) {
  const Tensor x = normal({80, 3}, 6), y = (normal({80, 3}, 7) + x > 0).to(at::kDouble);
  const Tensor together = fit_logistic(x, y).predict(x);
  for (int64_t k = 0; k < 3; ++k) EXPECT_TRUE(at::equal(fit_logistic(x, y.narrow(1, k, 1)).predict(x).select(1, 0), together.select(1, k)));
  const Tensor other = x * -250 + 3;
  EXPECT_LT(largest(fit_logistic(other, y).predict(other) - together), 1e-9);
  EXPECT_LT(largest(fit_logistic(x.to(at::kFloat), y.to(at::kFloat)).predict(x.to(at::kFloat)) - together), 1e-5) << "features rounded to 24 bits";
  EXPECT_LT(largest(at::sigmoid(fit_logistic(x, y).scores(x)) - together), 1e-15);
}

TEST(Logistic, WeightsItemsAsIfTheyWereSoManyOrLeftOut) {
  const Tensor x = normal({60, 2}, 8), y = (normal({60, 1}, 9) + x.narrow(1, 0, 1) > 0).to(at::kDouble);
  const Tensor plain = fit_logistic(x, y).predict(x);
  EXPECT_LT(largest(fit_logistic(x, y, 1e-3, at::full({60}, 7.0)).predict(x) - plain), 1e-6) << "the last Newton step's size";
  const Tensor half = (at::arange(60) < 40).to(at::kDouble);
  const Tensor kept = fit_logistic(x.narrow(0, 0, 40), y.narrow(0, 0, 40), 1e-9).predict(x);
  EXPECT_LT(largest(fit_logistic(x, y, 1e-9, half).predict(x) - kept), 1e-5) << "almost no ridge: the standardisation does not matter";
  const Tensor twice = at::ones({60}, at::kDouble) + half;
  const Tensor repeated = fit_logistic(at::cat({x, x.narrow(0, 0, 40)}), at::cat({y, y.narrow(0, 0, 40)}), 1e-9).predict(x);
  EXPECT_LT(largest(fit_logistic(x, y, 1e-9, twice).predict(x) - repeated), 1e-5);
}

TEST(Linear, SolvesTheNormalEquations) {
  constexpr int64_t n = 70, c = 3;
  const Tensor x = normal({n, c}, 10) * 4 - 1, y = at::matmul(x, normal({c, 2}, 11)) + normal({n, 2}, 12) + 5;
  const auto rows = standard_rows(x);
  for (const double ridge : {1e-3, 0.5}) {
    const Tensor residual = fit_linear(x, y, ridge).scores(x) - y, slopes = fit_linear(x, y, ridge).weight;
    for (int64_t k = 0; k < 2; ++k) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += residual[i][k].item<double>();
      EXPECT_NEAR(sum / n, 0, 1e-6) << "the intercept is free";
      for (int64_t j = 0; j < c; ++j) {
        double gradient = 0;
        for (int64_t i = 0; i < n; ++i) gradient += residual[i][k].item<double>() * rows[static_cast<size_t>(i)][static_cast<size_t>(j)];
        const double sd = x.select(1, j).std(/*unbiased=*/false).item<double>();
        EXPECT_NEAR(gradient / n + ridge * slopes[k][j].item<double>() * sd, 0, 1e-9);
      }
    }
  }
  const Tensor exact = at::matmul(x, at::tensor(std::vector<double>{1, -2, 3}, at::kDouble)).unsqueeze(1) + 4;
  const Probes found = fit_linear(x, exact, 1e-12);
  EXPECT_LT(largest(found.weight[0] - at::tensor(std::vector<double>{1, -2, 3}, at::kDouble)), 1e-6);
  EXPECT_NEAR(found.bias.item<double>(), 4, 1e-5);
}

TEST(Logistic, RefusesFeaturesThatAreNotFinite) {
  const Tensor x = at::full({3, 1}, NAN), y = at::zeros({3, 1});
  EXPECT_ANY_THROW(fit_logistic(x, y));
  EXPECT_ANY_THROW(fit_linear(x, y));
}

}  // namespace
}  // namespace entrain::experts
