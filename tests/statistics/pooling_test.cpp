#include "entrain/statistics/pooling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "entrain/base/random.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;

TEST(RandomEffects, ByHand) {
  // Estimates 0, 2, 4 of variance 1: Q = 8, tau^2 = (8 - 2) / (3 - 1) = 3, weights 1/4; squares 8 / 4 over 2 degrees are 1, so the
  // standard error is sqrt(4 / 3), t = 2 / se = sqrt(3), and with two degrees p = 1 - t / sqrt(2 + t^2).
  const RandomEffects e = random_effects(Doubles{0, 2, 4}, Doubles{1, 1, 1});
  EXPECT_DOUBLE_EQ(e.mean.estimate, 2);
  EXPECT_DOUBLE_EQ(e.q, 8);
  EXPECT_DOUBLE_EQ(e.tau_squared, 3);
  EXPECT_DOUBLE_EQ(e.i_squared, 0.75);
  EXPECT_DOUBLE_EQ(e.se, std::sqrt(4.0 / 3));
  EXPECT_NEAR(e.p, 1 - std::sqrt(3.0 / 5), 1e-14);
  EXPECT_NEAR(e.p_same, std::exp(-4.0), 1e-14);
  EXPECT_NEAR(e.mean.high - 2, 0.95 / std::sqrt(0.04875) * e.se, 1e-12) << "the 0.975 quantile with two degrees in closed form";
}

TEST(RandomEffects, AgreementByChanceKeepsItsWidth) {
  const RandomEffects e = random_effects(Doubles{1, 1, 1, 1}, Doubles{0.04, 0.04, 0.04, 0.04});
  EXPECT_EQ(e.tau_squared, 0);
  EXPECT_EQ(e.i_squared, 0);
  EXPECT_DOUBLE_EQ(e.se, 0.1);
  EXPECT_GT(e.mean.high - e.mean.low, 0.6);
  EXPECT_EQ(e.p_same, 1);
}

TEST(RandomEffects, Degenerate) {
  const RandomEffects one = random_effects(Doubles{3}, Doubles{4});
  EXPECT_EQ(one.mean.estimate, 3);
  EXPECT_EQ(one.mean.low, -kInfinity);
  EXPECT_EQ(one.p, 1);
  EXPECT_EQ(one.se, 2);
  EXPECT_THROW(random_effects(Doubles{}, Doubles{}), std::logic_error);
  EXPECT_THROW(random_effects(Doubles{1}, Doubles{0}), std::logic_error);
  EXPECT_THROW(random_effects(Doubles{1, 2}, Doubles{1}), std::logic_error);
  EXPECT_THROW(random_effects(Doubles{kNan}, Doubles{1}), std::logic_error);
  EXPECT_THROW(random_effects(Doubles{1, 2}, Doubles{1, 1}, 0), std::logic_error);
}

// 400 repetitions know 0.95 to 0.011. The width is never below that of the weights, so the interval may cover more, not less.
TEST(RandomEffects, IntervalCovers) {
  for (const double spread : {0.0, 0.5, 2.0}) {
    int covered = 0;
    for (uint64_t repetition = 0; repetition < 400; ++repetition) {
      RandomStream random = stream(repetition, "families");
      Doubles estimates, variances;
      for (int family = 0; family < 8; ++family) {
        variances.push_back(0.1 + 0.4 * random.next_uniform());
        estimates.push_back(0.7 + std::sqrt(variances.back()) * random.next_normal() + spread * random.next_normal());
      }
      covered += !random_effects(estimates, variances).mean.excludes(0.7);
    }
    EXPECT_GT(covered / 400.0, 0.95 - 0.038) << spread;
  }
}

TEST(PoolCorrelations, ByHand) {
  // Two equal families of Pearson's 0.5: z keeps, variance 1 / 25 each, standard error sqrt(1 / 50).
  const PooledCorrelation c = pool_correlations(std::vector<FamilyCorrelation>{{0.5, 28}, {0.5, 28}, {0.9, 3}}, CorrelationKind::kPearson);
  EXPECT_NEAR(c.r.estimate, 0.5, 1e-15);
  EXPECT_NEAR(c.z.se, std::sqrt(1.0 / 50), 1e-15);
  EXPECT_EQ(c.n_pooled, 2);
  EXPECT_LT(c.r.low, 0) << "two families, one degree of freedom";
  const PooledCorrelation four = pool_correlations(std::vector<FamilyCorrelation>(4, {0.5, 103}), CorrelationKind::kSpearman);
  EXPECT_GT(four.r.low, 0.3);
  EXPECT_LT(four.r.high, 0.65);
}

TEST(PoolCorrelations, Degenerate) {
  for (const PooledCorrelation& nothing :
       {pool_correlations({}, CorrelationKind::kPearson), pool_correlations(std::vector<FamilyCorrelation>{{0.5, 4}}, CorrelationKind::kKendall)}) {
    EXPECT_EQ(nothing.n_pooled, 0);
    EXPECT_EQ(nothing.r.low, -1);
    EXPECT_EQ(nothing.r.high, 1);
    EXPECT_EQ(nothing.z.p, 1);
  }
  const PooledCorrelation one = pool_correlations(std::vector<FamilyCorrelation>{{1, 50}}, CorrelationKind::kSpearman);
  EXPECT_EQ(one.r.low, -1);
  EXPECT_EQ(one.r.high, 1);
  EXPECT_GT(one.r.estimate, 0.999);
  EXPECT_THROW(pool_correlations(std::vector<FamilyCorrelation>{{1.5, 50}}, CorrelationKind::kSpearman), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
