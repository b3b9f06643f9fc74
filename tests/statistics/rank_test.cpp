#include "entrain/statistics/rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "entrain/base/random.h"
#include "entrain/statistics/hypothesis.h"

namespace entrain::statistics {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;
using Labels = std::vector<uint8_t>;

/// Bivariate normal pairs of that correlation, and the third variable that all of it comes from.
struct Pairs {
  Doubles x, y, given;
};

Pairs draw(uint64_t seed, size_t n, double correlation) {
  RandomStream random = stream(seed, "pairs");
  Pairs pairs;
  for (size_t i = 0; i < n; ++i) {
    const double shared = random.next_normal(), own = std::sqrt(1 - correlation), part = std::sqrt(correlation);
    pairs.given.push_back(shared);
    pairs.x.push_back(part * shared + own * random.next_normal());
    pairs.y.push_back(part * shared + own * random.next_normal());
  }
  return pairs;
}

TEST(MeanRanks, ByHand) {
  EXPECT_EQ(mean_ranks(Doubles{30, 10, 20, 10}), (Doubles{4, 1.5, 3, 1.5}));
  EXPECT_EQ(mean_ranks(Doubles{}), Doubles{});
}

TEST(Kendall, ByHand) {
  // 1 2 3 4 against 1 3 2 4: one of six pairs is discordant. The variance is 4 * 3 * 13 / 18.
  const KendallCorrelation k = kendall_tau_b(Doubles{1, 2, 3, 4}, Doubles{1, 3, 2, 4});
  EXPECT_DOUBLE_EQ(k.tau, 4.0 / 6);
  EXPECT_NEAR(k.p, std::erfc(4 / std::sqrt(2 * 26.0 / 3)), 1e-15);
  // x 1 1 2, y 1 2 3: two pairs untied in x, three in y, both concordant.
  EXPECT_NEAR(kendall_tau_b(Doubles{1, 1, 2}, Doubles{1, 2, 3}).tau, 2 / std::sqrt(6.0), 1e-15);
}

TEST(Kendall, EveryPairCounted) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    RandomStream random = stream(seed, "kendall");
    Doubles x, y;
    for (int i = 0; i < 37; ++i) {
      x.push_back(static_cast<double>(random.next_below(6)));
      y.push_back(std::floor(x.back() / 2) + static_cast<double>(random.next_below(4)));
    }
    double excess = 0, in_x = 0, in_y = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        const double a = x[i] - x[j], b = y[i] - y[j];
        excess += (a * b > 0) - (a * b < 0);
        in_x += a != 0;
        in_y += b != 0;
      }
    }
    EXPECT_NEAR(kendall_tau_b(x, y).tau, excess / std::sqrt(in_x * in_y), 1e-14);
    EXPECT_NEAR(kendall_tau_b(y, x).tau, excess / std::sqrt(in_x * in_y), 1e-14);
    EXPECT_NEAR(kendall_tau_b(y, x).p, kendall_tau_b(x, y).p, 1e-14);
  }
}

TEST(Kendall, Degenerate) {
  EXPECT_EQ(kendall_tau_b(Doubles{}, Doubles{}).p, 1);
  EXPECT_EQ(kendall_tau_b(Doubles{1}, Doubles{1}).tau, 0);
  EXPECT_EQ(kendall_tau_b(Doubles{1, 1}, Doubles{1, 2}).tau, 0);
  EXPECT_EQ(kendall_tau_b(Doubles{1, 2}, Doubles{1, 2}).tau, 1);
  EXPECT_THROW(kendall_tau_b(Doubles{1, 2}, Doubles{1}), std::logic_error);
  EXPECT_THROW(kendall_tau_b(Doubles{1, kNan}, Doubles{1, 2}), std::logic_error);
}

TEST(FisherZ, ByHand) {
  EXPECT_DOUBLE_EQ(fisher_z(0.5, 28, CorrelationKind::kPearson).z, std::log(3.0) / 2);
  EXPECT_DOUBLE_EQ(fisher_z(0.5, 28, CorrelationKind::kPearson).variance, 1.0 / 25);
  EXPECT_DOUBLE_EQ(fisher_z(0.5, 28, CorrelationKind::kSpearman).variance, 1.125 / 25);
  EXPECT_DOUBLE_EQ(fisher_z(0.5, 28, CorrelationKind::kKendall).variance, 0.437 / 24);
  EXPECT_DOUBLE_EQ(fisher_z(1, 4, CorrelationKind::kSpearman).z, std::atanh(0.9));
  EXPECT_DOUBLE_EQ(fisher_z(-1, 5, CorrelationKind::kKendall).z, -std::atanh(0.9));
  EXPECT_TRUE(std::isfinite(fisher_z(1, int64_t{1} << 60, CorrelationKind::kPearson).z));
  EXPECT_THROW(fisher_z(0.5, 3, CorrelationKind::kPearson), std::logic_error);
  EXPECT_THROW(fisher_z(0.5, 4, CorrelationKind::kKendall), std::logic_error);
  EXPECT_THROW(fisher_z(1.5, 10, CorrelationKind::kPearson), std::logic_error);
  EXPECT_THROW(fisher_z(kNan, 10, CorrelationKind::kPearson), std::logic_error);
}

TEST(CorrelationInterval, PlanningFigures) {
  // rho 0.5 is known to about 0.15 at 100 pairs, 0.065 at 500 and 0.02 at 5,000.
  for (const auto& [n, half] : std::vector<std::pair<int64_t, double>>{{100, 0.15}, {500, 0.07}, {5000, 0.022}}) {
    const Interval i = correlation_interval(0.5, n, CorrelationKind::kSpearman);
    EXPECT_NEAR((i.high - i.low) / 2, half, 0.1 * half);
  }
}

TEST(SpearmanInterval, Degenerate) {
  for (const auto& [x, y] : std::vector<std::pair<Doubles, Doubles>>{{{}, {}}, {{1, 2}, {1, 2}}, {{1, 1, 1, 1}, {1, 2, 3, 4}}}) {
    const Interval i = spearman_interval(x, y);
    EXPECT_EQ(i.estimate, 0);
    EXPECT_EQ(i.low, -1);
    EXPECT_EQ(i.high, 1);
  }
  const Interval three = spearman_interval(Doubles{1, 2, 3}, Doubles{1, 2, 3});
  const Interval ten = spearman_interval(Doubles{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, Doubles{9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  EXPECT_EQ(three.estimate, 1);
  EXPECT_EQ(three.low, -1);
  EXPECT_EQ(ten.estimate, -1);
  EXPECT_EQ(ten.low, -1);
  EXPECT_LT(ten.high, -0.9);
  EXPECT_GT(ten.high, -1);
}

// 400 repetitions know a share of 0.95 to 0.011, one of 0.05 likewise; 3.5 of those.
TEST(Spearman, IntervalCovers) {
  for (const double correlation : {0.0, 0.5, 0.8}) {
    const double rho = 6 / std::numbers::pi * std::asin(correlation / 2);
    int covered = 0;
    for (uint64_t repetition = 0; repetition < 400; ++repetition) {
      const Pairs pairs = draw(repetition, 60, correlation);
      covered += !spearman_interval(pairs.x, pairs.y).excludes(rho);
    }
    EXPECT_NEAR(covered / 400.0, 0.95, 0.038) << correlation;
  }
}

TEST(Correlations, RejectWhatIsTrueAtTheirLevel) {
  int kendall = 0, partial = 0, interval = 0;
  for (uint64_t repetition = 0; repetition < 400; ++repetition) {
    const Pairs pairs = draw(repetition + 500, 40, 0.5), independent = draw(repetition + 900, 40, 0);
    kendall += kendall_tau_b(independent.x, independent.y).p < 0.05;
    partial += partial_spearman(independent.x, independent.y, independent.given).p < 0.05;
    interval += partial_spearman(pairs.x, pairs.y, pairs.given).rho.excludes(0);
  }
  EXPECT_NEAR(kendall / 400.0, 0.05, 0.038);
  EXPECT_NEAR(partial / 400.0, 0.05, 0.038);
  // Ranks take the third variable out but for a few hundredths of correlation, so this one rejects a little more often.
  EXPECT_LT(interval / 400.0, 0.11);
}

TEST(PartialSpearman, ByHand) {
  // From the three correlations of ranks.
  const Doubles x{1, 2, 3, 4, 5}, y{2, 1, 4, 3, 5}, given{1, 3, 2, 5, 4};
  const double xy = spearman(x, y).rho, xz = spearman(x, given).rho, yz = spearman(y, given).rho;
  const PartialCorrelation partial = partial_spearman(x, y, given);
  EXPECT_NEAR(partial.rho.estimate, (xy - xz * yz) / std::sqrt((1 - xz * xz) * (1 - yz * yz)), 1e-14);
  const Pairs pairs = draw(1, 400, 0.6);
  EXPECT_GT(spearman(pairs.x, pairs.y).rho, 0.45);
  EXPECT_LT(std::abs(partial_spearman(pairs.x, pairs.y, pairs.given).rho.estimate), 0.15);
}

TEST(PartialSpearman, Degenerate) {
  const Doubles up{1, 2, 3, 4, 5}, other{2, 1, 4, 3, 5}, constant(5, 1.0);
  for (const PartialCorrelation& nothing :
       {partial_spearman(up, other, up), partial_spearman(up, constant, other), partial_spearman(Doubles{1, 2, 3}, Doubles{1, 3, 2}, Doubles{2, 1, 3})}) {
    EXPECT_EQ(nothing.rho.estimate, 0);
    EXPECT_EQ(nothing.rho.low, -1);
    EXPECT_EQ(nothing.p, 1);
  }
  EXPECT_NEAR(partial_spearman(up, other, constant).rho.estimate, 0.8, 1e-14) << "a constant takes nothing out";
  EXPECT_THROW(partial_spearman(up, other, Doubles{1}), std::logic_error);
}

/// A sample whose quantiles are those of the law at (i + 1/2) / n.
Doubles quantiles(bool normal) {
  Doubles values;
  for (int i = 0; i < 20000; ++i) {
    const double q = (i + 0.5) / 20000;
    double z = 0;  // Newton on the normal distribution function
    for (int step = 0; normal && step < 60; ++step) z -= (std::erfc(-z / std::numbers::sqrt2) / 2 - q) * std::sqrt(2 * std::numbers::pi) * std::exp(std::min(z * z / 2, 8.0));
    values.push_back(normal ? z : q);
  }
  return values;
}

TEST(PointBiserial, CeilingsOfNormalAndUniformComplexity) {
  // Closed forms at rate p: normal density at the quantile over sqrt(p (1 - p)); uniform sqrt(3 p (1 - p)).
  const Doubles uniform = quantiles(false), normal = quantiles(true);
  for (const auto& [rate, of_normal, of_uniform] : std::vector<std::tuple<double, double, double>>{{0.05, 0.473, 0.377}, {0.1, 0.585, 0.520}, {0.5, 0.798, 0.866}}) {
    const int64_t n_positive = static_cast<int64_t>(20000 * rate);
    EXPECT_NEAR(point_biserial_range(normal, n_positive).highest, of_normal, 0.001);
    EXPECT_NEAR(point_biserial_range(normal, n_positive).lowest, -of_normal, 0.001);
    EXPECT_NEAR(point_biserial_range(uniform, n_positive).highest, of_uniform, 0.001);
  }
}

TEST(PointBiserial, ByHand) {
  // Values 0 0 0 4: marking the 4 correlates 1, marking a 0 correlates -1 / 3.
  const PointBiserial marked = point_biserial(Doubles{0, 4, 0, 0}, Labels{0, 1, 0, 0}), other = point_biserial(Doubles{0, 4, 0, 0}, Labels{1, 0, 0, 0});
  EXPECT_NEAR(marked.r, 1, 1e-15);
  EXPECT_NEAR(other.r, -1.0 / 3, 1e-15);
  EXPECT_NEAR(other.within.lowest, -1.0 / 3, 1e-15);
  EXPECT_NEAR(other.within.highest, 1, 1e-15);
  RandomStream random = stream(4, "p");
  for (int repetition = 0; repetition < 50; ++repetition) {
    Doubles values;
    Labels labels;
    for (int i = 0; i < 15; ++i) {
      values.push_back(std::exp(random.next_normal()));
      labels.push_back(random.next_uniform() < 0.4);
    }
    const PointBiserial p = point_biserial(values, labels);
    EXPECT_LE(p.within.lowest, p.r);
    EXPECT_LE(p.r, p.within.highest);
  }
}

TEST(PointBiserial, Degenerate) {
  EXPECT_EQ(point_biserial(Doubles{}, Labels{}).p, 1);
  for (const PointBiserial& nothing :
       {point_biserial(Doubles{1, 1, 1}, Labels{0, 1, 1}), point_biserial(Doubles{1, 2, 3}, Labels{1, 1, 1}), point_biserial(Doubles{1, 2, 3}, Labels{0, 0, 0})}) {
    EXPECT_EQ(nothing.r, 0);
    EXPECT_EQ(nothing.p, 1);
    EXPECT_EQ(nothing.within.highest, 0);
  }
  EXPECT_EQ(point_biserial(Doubles{1, 2}, Labels{0, 1}).p, 1) << "two points tell nothing";
  EXPECT_THROW(point_biserial_range(Doubles{1, 2}, 3), std::logic_error);
  EXPECT_THROW(point_biserial_range(Doubles{1, 2}, -1), std::logic_error);
  EXPECT_THROW(point_biserial(Doubles{1, 2}, Labels{0}), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
