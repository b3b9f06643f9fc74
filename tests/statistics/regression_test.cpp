#include "entrain/statistics/regression.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "entrain/base/random.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;
using Labels = std::vector<uint8_t>;
using Columns = std::vector<Doubles>;

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(FitLine, ByHand) {
  // (0, 0), (1, 2), (2, 1): slope 1/2, intercept 1/2, residuals -1/2, 1, -1/2: se^2 = 1.5 / 1 / 2; t = 0.5 / se = 1 / sqrt(3), one degree.
  const LineFit f = fit_line(Doubles{0, 1, 2}, Doubles{0, 2, 1});
  EXPECT_DOUBLE_EQ(f.slope.estimate, 0.5);
  EXPECT_DOUBLE_EQ(f.intercept, 0.5);
  EXPECT_DOUBLE_EQ(f.se, std::sqrt(0.75));
  EXPECT_NEAR(f.p_zero, 2.0 / 3, 1e-14) << "1 - 2 atan(t) / pi, atan(1 / sqrt(3)) = pi / 6";
  EXPECT_NEAR(f.p_one, 2.0 / 3, 1e-14);
  EXPECT_DOUBLE_EQ(f.r_squared, 0.25);
}

TEST(FitLine, Degenerate) {
  for (const LineFit& nothing : {fit_line(Doubles{1, 2}, Doubles{1, 2}), fit_line(Doubles{1, 1, 1}, Doubles{1, 2, 0}), fit_line(Doubles{}, Doubles{})}) {
    EXPECT_EQ(nothing.slope.estimate, 0);
    EXPECT_EQ(nothing.slope.low, -kInfinity);
    EXPECT_EQ(nothing.p_zero, 1);
    EXPECT_EQ(nothing.p_one, 1);
  }
  const LineFit exact = fit_line(Doubles{0.1, 0.2, 0.3, 0.7}, Doubles{0.1, 0.2, 0.3, 0.7}), flat = fit_line(Doubles{0.1, 0.2, 0.3}, Doubles{0.6, 0.6, 0.6});
  EXPECT_EQ(exact.p_one, 1);
  EXPECT_EQ(exact.p_zero, 0);
  EXPECT_EQ(exact.r_squared, 1);
  EXPECT_EQ(flat.p_zero, 1) << "an attractor";
  EXPECT_EQ(flat.p_one, 0);
  EXPECT_EQ(flat.slope.low, flat.slope.high);
  EXPECT_THROW(fit_line(Doubles{1, 2}, Doubles{1}), std::logic_error);
  EXPECT_THROW(fit_line(Doubles{1, kNan}, Doubles{1, 2}), std::logic_error);
}

TEST(FitLogistic, ByHand) {
  // Two groups, 1 of 4 and 3 of 4: log odds -ln 3 and ln 3, each with variance 4 / 3.
  const LogisticFit f = fit_logistic(Columns{{0, 0, 0, 0, 1, 1, 1, 1}}, Labels{1, 0, 0, 0, 1, 1, 1, 0});
  EXPECT_NEAR(f.intercept, -std::log(3.0), 1e-6);
  EXPECT_NEAR(f.coefficients[0], 2 * std::log(3.0), 2e-6);
  EXPECT_NEAR(f.standard_errors[0], std::sqrt(8.0 / 3), 2e-6);
  EXPECT_NEAR(f.log_likelihood, 6 * std::log(0.75) + 2 * std::log(0.25), 1e-9);
  EXPECT_TRUE(f.determined);
  const LogisticFit none = fit_logistic(Columns{}, Labels{1, 1, 1, 0});
  EXPECT_NEAR(none.intercept, std::log(3.0), 1e-5);
}

TEST(FitLogistic, UnitsDoNotMatter) {
  RandomStream random = stream(1, "units");
  Columns columns(2);
  Labels labels;
  for (int i = 0; i < 200; ++i) {
    for (Doubles& column : columns) column.push_back(random.next_normal());
    labels.push_back(random.next_uniform() < logistic(columns[0].back() - 0.5));
  }
  const LogisticFit plain = fit_logistic(columns, labels);
  for (double& value : columns[0]) value = 1e6 + 1000 * value;
  const LogisticFit scaled = fit_logistic(columns, labels);
  EXPECT_NEAR(scaled.coefficients[0] * 1000, plain.coefficients[0], 1e-6);
  EXPECT_NEAR(scaled.standard_errors[0] * 1000, plain.standard_errors[0], 1e-6);
  EXPECT_NEAR(scaled.log_likelihood, plain.log_likelihood, 1e-7);
}

TEST(FitLogistic, WhatTheDataDoNotHold) {
  const Doubles x{1, 2, 3, 4, 5, 6}, constant(6, 2.0);
  const Labels separated{0, 0, 0, 1, 1, 1}, quasi{0, 0, 1, 1, 1, 1}, mixed{0, 1, 0, 1, 0, 1}, one_class(6, 1);
  for (const LogisticFit& f : {fit_logistic(Columns{x}, separated), fit_logistic(Columns{{1, 2, 2, 2, 3, 4}}, quasi), fit_logistic(Columns{x}, one_class),
                               fit_logistic(Columns{constant}, mixed), fit_logistic(Columns{x, x}, mixed)}) {
    EXPECT_FALSE(f.determined);
    EXPECT_TRUE(std::isfinite(f.intercept) && std::isfinite(f.log_likelihood));
    for (size_t j = 0; j < f.coefficients.size(); ++j) EXPECT_TRUE(std::isfinite(f.coefficients[j]) && std::isfinite(f.standard_errors[j]));
  }
  EXPECT_GT(fit_logistic(Columns{x}, separated).log_likelihood, -1e-2);
  EXPECT_EQ(fit_logistic(Columns{constant}, mixed).coefficients[0], 0);
  // A column twice shares one coefficient between both and changes no likelihood.
  EXPECT_NEAR(fit_logistic(Columns{x, x}, mixed).log_likelihood, fit_logistic(Columns{x}, mixed).log_likelihood, 1e-8);
  EXPECT_TRUE(fit_logistic(Columns{x}, mixed).determined);
  EXPECT_THROW(fit_logistic(Columns{x}, Labels{}), std::logic_error);
  EXPECT_THROW(fit_logistic(Columns{{1, 2}}, mixed), std::logic_error);
  EXPECT_THROW(fit_logistic(Columns{x}, Labels{0, 1, 2, 0, 1, 0}), std::logic_error);
}

TEST(PartialInformation, ByHand) {
  // One added binary score, nothing known: 2 (6 ln 3/4 + 2 ln 1/4 + 8 ln 2).
  const PartialInformation i = partial_information(Columns{}, Doubles{0, 0, 0, 0, 1, 1, 1, 1}, Labels{1, 0, 0, 0, 1, 1, 1, 0});
  EXPECT_NEAR(i.chi_squared, 2 * (6 * std::log(0.75) + 2 * std::log(0.25) + 8 * std::log(2.0)), 1e-8);
  EXPECT_NEAR(i.p, std::erfc(std::sqrt(i.chi_squared / 2)), 1e-12);
  EXPECT_NEAR(i.nats_per_item, i.chi_squared / 16, 1e-15);
  const PartialInformation nothing = partial_information(Columns{{1, 2, 3, 4}}, Doubles{2, 4, 6, 8}, Labels{0, 1, 0, 1});
  EXPECT_NEAR(nothing.chi_squared, 0, 1e-7);
  EXPECT_GT(nothing.p, 0.99);
}

TEST(PartialInformation, KnowsWhatIsNew) {
  // 400 repetitions know 0.05 to 0.011; 3.5 of those, and chi-squared is good to a point at 150 items.
  int rejected = 0, found = 0;
  for (uint64_t repetition = 0; repetition < 400; ++repetition) {
    RandomStream random = stream(repetition, "partial");
    Columns known(1);
    Doubles echo, fresh;
    Labels labels;
    for (int i = 0; i < 150; ++i) {
      known[0].push_back(random.next_normal());
      echo.push_back(known[0].back() + random.next_normal());
      fresh.push_back(random.next_normal());
      labels.push_back(random.next_uniform() < logistic(1.5 * known[0].back() + fresh.back()));
    }
    rejected += partial_information(Columns{known[0], fresh}, echo, labels).p < 0.05;
    found += partial_information(known, fresh, labels).p < 0.05;
  }
  EXPECT_NEAR(rejected / 400.0, 0.055, 0.038);
  EXPECT_GT(found, 390);
}

TEST(PooledLogisticSlope, CoversAndLeavesOut) {
  int covered = 0;
  for (uint64_t repetition = 0; repetition < 300; ++repetition) {
    RandomStream random = stream(repetition, "families");
    Doubles x;
    Labels labels;
    std::vector<int64_t> families;
    for (int64_t family = 0; family < 6; ++family) {
      const double slope = 0.8 + 0.3 * random.next_normal(), intercept = random.next_normal();
      for (int i = 0; i < 150; ++i) {
        x.push_back(random.next_normal());
        labels.push_back(random.next_uniform() < logistic(intercept + slope * x.back()));
        families.push_back(family);
      }
    }
    covered += !pooled_logistic_slope(x, labels, families).slope.mean.excludes(0.8);
  }
  EXPECT_GT(covered / 300.0, 0.95 - 0.05) << "four standard errors of 0.0126";
  // Family 5 is separated, family 6 has one label: left out, the mean is family 2's alone.
  const PooledSlope some = pooled_logistic_slope(Doubles{1, 2, 3, 4, 1, 2, 3, 4, 1, 2}, Labels{0, 1, 0, 1, 0, 0, 1, 1, 1, 1}, std::vector<int64_t>{2, 2, 2, 2, 5, 5, 5, 5, 6, 6});
  ASSERT_EQ(some.families.size(), 3u);
  EXPECT_TRUE(some.families[0].pooled);
  EXPECT_FALSE(some.families[1].pooled);
  EXPECT_EQ(some.families[1].se, 0);
  EXPECT_EQ(some.n_left_out, 2);
  EXPECT_EQ(some.slope.mean.estimate, some.families[0].slope);
  EXPECT_EQ(some.slope.p, 1) << "one family tells nothing of others";
  const PooledSlope none = pooled_logistic_slope(Doubles{1, 2}, Labels{1, 1}, std::vector<int64_t>{0, 0});
  EXPECT_EQ(none.slope.mean.high, kInfinity);
  EXPECT_EQ(none.slope.p, 1);
  EXPECT_THROW(pooled_logistic_slope(Doubles{1}, Labels{1}, std::vector<int64_t>{}), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
