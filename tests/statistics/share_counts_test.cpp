#include "entrain/statistics/share_counts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "entrain/base/random.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Doubles = std::vector<double>;
using Runs = std::vector<Counts>;

/// Runs of n items each; a run's share of three parts is Dirichlet around 0.6, 0.25, 0.15 by Polya's urn of that many balls.
Runs draw(uint64_t seed, size_t n_runs, int64_t n, double concentration) {
  RandomStream random = stream(seed, "urn");
  Runs runs;
  for (size_t s = 0; s < n_runs; ++s) {
    Counts run(3, 0);
    for (int64_t drawn = 0; drawn < n; ++drawn) {
      const bool fresh = concentration == kInfinity || random.next_uniform() * (concentration + static_cast<double>(drawn)) < concentration;
      size_t part = 0;
      if (fresh) {
        const double u = random.next_uniform();
        part = u < 0.6 ? 0 : u < 0.85 ? 1 : 2;
      } else {
        for (int64_t ball = static_cast<int64_t>(random.next_below(static_cast<uint64_t>(drawn))); ball >= run[part]; ++part) ball -= run[part];
      }
      ++run[part];
    }
    runs.push_back(run);
  }
  return runs;
}

TEST(GTest, ByHand) {
  // 30 : 10 against halves: 2 (30 ln 1.5 + 10 ln 0.5), w = sqrt(2 * 0.25^2 / 0.5).
  const GTest t = g_test(Counts{30, 10}, Doubles{0.5, 0.5});
  EXPECT_NEAR(t.g, 2 * (30 * std::log(1.5) + 10 * std::log(0.5)), 1e-12);
  EXPECT_EQ(t.degrees, 1);
  EXPECT_NEAR(t.p, std::erfc(std::sqrt(t.g / 2)), 1e-14);
  EXPECT_DOUBLE_EQ(t.w, 0.5);
  EXPECT_NEAR(g_test(Counts{60, 25, 15}, Doubles{0.6, 0.25, 0.15}).g, 0, 1e-12);
}

TEST(GTest, Degenerate) {
  const GTest none = g_test(Counts{0, 0}, Doubles{0.5, 0.5}), impossible = g_test(Counts{5, 1}, Doubles{1, 0}), sure = g_test(Counts{5, 0}, Doubles{1, 0});
  EXPECT_EQ(none.g, 0);
  EXPECT_EQ(none.p, 1);
  EXPECT_EQ(none.w, 0);
  EXPECT_EQ(impossible.g, kInfinity);
  EXPECT_EQ(impossible.w, kInfinity);
  EXPECT_EQ(impossible.p, 0);
  EXPECT_EQ(sure.p, 1);
  EXPECT_EQ(sure.degrees, 0);
  EXPECT_THROW(g_test(Counts{1, -1}, Doubles{0.5, 0.5}), std::logic_error);
  EXPECT_THROW(g_test(Counts{1, 1}, Doubles{0.5, 0.6}), std::logic_error);
  EXPECT_THROW(g_test(Counts{1, 1}, Doubles{1}), std::logic_error);
  EXPECT_THROW(g_test(Counts{1}, Doubles{1}), std::logic_error);
}

TEST(GTest, RejectsAtItsLevel) {
  int rejected = 0;
  for (const Counts& run : draw(1, 400, 300, kInfinity)) rejected += g_test(run, Doubles{0.6, 0.25, 0.15}).p < 0.05;
  EXPECT_NEAR(rejected / 400.0, 0.05, 0.038) << "3.5 standard errors of 0.011";
}

TEST(Overdispersion, ByHand) {
  // Each run uses one part: squares around 1/2 are 8 * 1/2 over one degree, none within: rho 1. Chi-squared 8 at one degree.
  const Overdispersion all = overdispersion(Runs{{4, 0}, {0, 4}});
  EXPECT_EQ(all.rho, 1);
  EXPECT_EQ(all.concentration, 0);
  EXPECT_DOUBLE_EQ(all.chi_squared, 8);
  EXPECT_EQ(all.degrees, 1);
  EXPECT_NEAR(all.p, std::erfc(2), 1e-14);
  // {3, 1} and {1, 3}: between 8 * 2 / 16 = 1, within 2 * 4 * 2 * 3/16 / 6 = 1/2, four items a run: rho = 1/2 / (1 + 3/2).
  const Overdispersion some = overdispersion(Runs{{3, 1}, {1, 3}});
  EXPECT_NEAR(some.rho, 0.2, 1e-15);
  EXPECT_NEAR(some.concentration, 4, 1e-13);
}

TEST(Overdispersion, FindsTheConcentration) {
  double rho = 0;
  int rejected = 0;
  for (uint64_t repetition = 0; repetition < 300; ++repetition) {
    rho += overdispersion(draw(repetition, 20, 100, 24)).rho / 300;
    rejected += overdispersion(draw(repetition + 500, 20, 100, kInfinity)).p < 0.05;
  }
  EXPECT_NEAR(rho, 1.0 / 25, 0.004) << "moments from 20 runs are a little low";
  EXPECT_NEAR(rejected / 300.0, 0.05, 0.044) << "3.5 standard errors of 0.0126";
  EXPECT_LT(overdispersion(draw(1, 20, 1000, 100)).p, 1e-6);
}

TEST(Overdispersion, Degenerate) {
  for (const Overdispersion& nothing : {overdispersion(Runs{{5, 3}}), overdispersion(Runs{{5, 0}, {9, 0}}), overdispersion(Runs{{5, 3}, {0, 0}})}) {
    EXPECT_EQ(nothing.rho, 0);
    EXPECT_EQ(nothing.concentration, kInfinity);
    EXPECT_EQ(nothing.p, 1);
    EXPECT_EQ(nothing.degrees, 0);
  }
  const Overdispersion equal = overdispersion(Runs{{5, 3}, {5, 3}}), single = overdispersion(Runs{{1, 0}, {0, 1}, {1, 0}});
  EXPECT_EQ(equal.rho, 0);
  EXPECT_EQ(equal.p, 1);
  EXPECT_EQ(single.rho, 0);
  EXPECT_THROW(overdispersion(Runs{}), std::logic_error);
  EXPECT_THROW(overdispersion(Runs{{0, 0}}), std::logic_error);
  EXPECT_THROW(overdispersion(Runs{{1, 2}, {1, 2, 3}}), std::logic_error);
  EXPECT_THROW(overdispersion(Runs{{1, -2}}), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
