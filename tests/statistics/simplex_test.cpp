#include "entrain/statistics/simplex.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "entrain/base/random.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Runs = std::vector<Share>;

const Share kTarget{0.6, 0.25, 0.15}, kHalving{4.0 / 7, 2.0 / 7, 1.0 / 7}, kGolden{0.618, 0.236, 0.146};

/// Runs around a centre, logistic-normal: independent normal ilr coordinates of that sd.
Runs draw(uint64_t seed, size_t n, const Share& centre, double sd) {
  RandomStream random = stream(seed, "runs");
  Runs runs;
  for (size_t s = 0; s < n; ++s) {
    std::vector<double> z = ilr(centre);
    for (double& coordinate : z) coordinate += sd * random.next_normal();
    runs.push_back(ilr_inverse(z));
  }
  return runs;
}

TEST(ReplaceZeros, ByHand) {
  EXPECT_EQ(replace_zeros(Share{0.5, 0.5, 0}, 0.1), (Share{0.45, 0.45, 0.1}));
  EXPECT_EQ(replace_zeros(Share{0.75, 0.25}), (Share{0.75, 0.25}));
  EXPECT_EQ(replace_zeros(Share{1, 0, 0, 0}, 0.01)[0], 0.97);
  EXPECT_THROW(replace_zeros(Share{1}), std::logic_error);
  EXPECT_THROW(replace_zeros(Share{0.5, 0.6}), std::logic_error);
  EXPECT_THROW(replace_zeros(Share{1.5, -0.5}), std::logic_error);
  EXPECT_THROW(replace_zeros(Share{kNan, 0.5}), std::logic_error);
  EXPECT_THROW(replace_zeros(Share{0.5, 0.5}, 0), std::logic_error);
  EXPECT_THROW(replace_zeros(Share{0.5, 0.5}, 0.5), std::logic_error);
}

TEST(Ilr, ByHand) {
  const auto z = ilr(kTarget);
  EXPECT_NEAR(z[0], std::log(0.6 / 0.25) / std::sqrt(2.0), 1e-15);
  EXPECT_NEAR(z[1], std::sqrt(2.0 / 3) * std::log(std::sqrt(0.6 * 0.25) / 0.15), 1e-15);
  for (const double coordinate : ilr(Share(5, 0.2))) EXPECT_NEAR(coordinate, 0, 1e-15);
}

TEST(Ilr, GoesBackAndKeepsDistances) {
  RandomStream random = stream(1, "ilr");
  for (size_t parts = 2; parts < 9; ++parts) {
    std::vector<double> za, zb;
    for (size_t i = 1; i < parts; ++i) za.push_back(2 * random.next_normal()), zb.push_back(2 * random.next_normal());
    const Share a = ilr_inverse(za), b = ilr_inverse(zb);
    double squares = 0, pairs = 0;
    for (size_t i = 0; i < za.size(); ++i) {
      EXPECT_NEAR(ilr(a)[i], za[i], 1e-12);
      squares += (za[i] - zb[i]) * (za[i] - zb[i]);
    }
    EXPECT_NEAR(aitchison_distance(a, b), std::sqrt(squares), 1e-12);
    // Aitchison's own form: log-ratios of all pairs.
    for (size_t i = 0; i < parts; ++i) {
      for (size_t j = 0; j < i; ++j) pairs += std::pow(std::log(a[i] / a[j]) - std::log(b[i] / b[j]), 2);
    }
    EXPECT_NEAR(aitchison_distance(a, b), std::sqrt(pairs / static_cast<double>(parts)), 1e-12);
  }
  EXPECT_THROW(ilr_inverse(std::vector<double>{}), std::logic_error);
}

TEST(TotalVariation, ByHand) {
  EXPECT_NEAR(total_variation(kTarget, kHalving), 0.6 - 4.0 / 7 + 0.15 - 1.0 / 7, 1e-15);
  EXPECT_EQ(total_variation(Share{1, 0}, Share{0, 1}), 1);
  EXPECT_EQ(total_variation(kTarget, kTarget), 0);
  EXPECT_THROW(total_variation(kTarget, Share{0.5, 0.5}), std::logic_error);
  EXPECT_THROW(aitchison_distance(kTarget, Share{0.5, 0.5}), std::logic_error);
}

TEST(MeanShare, ByHand) {
  // Two parts: the mean of the log odds -1, 0, 1 with standard error 1 / sqrt(3), Student's t with two degrees.
  Runs runs;
  for (const double log_odds : {-1.0, 0.0, 1.0}) runs.push_back({1 / (1 + std::exp(-log_odds)), 1 / (1 + std::exp(log_odds))});
  const MeanShare m = mean_share(runs);
  const double half = 0.95 / std::sqrt(0.04875) / std::sqrt(3.0);  // the 0.975 quantile with two degrees in closed form
  EXPECT_NEAR(m.shares[0].estimate, 0.5, 1e-15);
  EXPECT_NEAR(m.shares[0].low, 1 / (1 + std::exp(half)), 1e-12);
  EXPECT_NEAR(m.shares[1].high, 1 / (1 + std::exp(-half)), 1e-12);
  EXPECT_NEAR(m.metric_variance, 0.5, 1e-14) << "log odds over sqrt(2)";
}

// 300 repetitions know 0.95 to 0.0126; the delta method is off by less than a point at this spread.
TEST(MeanShare, IntervalCovers) {
  for (const double sd : {0.1, 0.5}) {
    int covered[3] = {0, 0, 0};
    for (uint64_t repetition = 0; repetition < 300; ++repetition) {
      const MeanShare m = mean_share(draw(repetition, 20, kTarget, sd));
      for (size_t j = 0; j < 3; ++j) covered[j] += !m.shares[j].excludes(kTarget[j]);
    }
    for (const int c : covered) EXPECT_NEAR(c / 300.0, 0.95, 0.045) << sd;
  }
}

TEST(MeanShare, Degenerate) {
  const MeanShare one = mean_share(Runs{kTarget}), equal = mean_share(Runs(5, kTarget)), unused = mean_share(Runs{{1, 0, 0}, {0.9, 0.1, 0}});
  EXPECT_EQ(one.shares[0].low, 0);
  EXPECT_EQ(one.shares[0].high, 1);
  EXPECT_EQ(one.metric_variance, 0);
  EXPECT_NEAR(equal.shares[1].estimate, 0.25, 1e-14);
  EXPECT_NEAR(equal.shares[1].high - equal.shares[1].low, 0, 1e-14);
  double sum = 0;
  for (const Interval& share : unused.shares) {
    EXPECT_TRUE(share.low >= 0 && share.low <= share.estimate && share.estimate <= share.high && share.high <= 1);
    sum += share.estimate;
  }
  EXPECT_NEAR(sum, 1, 1e-14);
  const MeanShare extreme = mean_share(Runs{{1 - 1e-18, 1e-18}, {1 - 1e-16, 1e-16}});
  EXPECT_TRUE(std::isfinite(extreme.shares[0].low) && std::isfinite(extreme.shares[1].high));
  EXPECT_THROW(mean_share(Runs{}), std::logic_error);
  EXPECT_THROW(mean_share(Runs{kTarget, {0.5, 0.5}}), std::logic_error);
}

TEST(Hotelling, TwoPartsAreStudentsT) {
  const Runs runs{{0.5, 0.5}, {0.6, 0.4}, {0.65, 0.35}, {0.7, 0.3}};
  std::vector<double> z;
  for (const Share& run : runs) z.push_back(ilr(run)[0]);
  const PairedTTest t = paired_t_test(z);
  const PointTest h = hotelling_test(runs, Share{0.5, 0.5});
  EXPECT_NEAR(h.t_squared, t.t * t.t, 1e-10);
  EXPECT_NEAR(h.p, t.p, 1e-12);
}

TEST(Hotelling, OrderOfPartsDoesNotMatter) {
  const Runs runs = draw(1, 12, kHalving, 0.3);
  const PointTest h = hotelling_test(runs, kTarget);
  Runs turned;
  for (const Share& run : runs) turned.push_back({run[2], run[0], run[1]});
  EXPECT_NEAR(hotelling_test(turned, Share{0.15, 0.6, 0.25}).t_squared, h.t_squared, 1e-9 * h.t_squared);
  EXPECT_EQ(h.degrees, 2);
  EXPECT_EQ(h.degrees_of_error, 10);
}

TEST(Hotelling, RejectsAtItsLevel) {
  int rejected = 0, found = 0;
  for (uint64_t repetition = 0; repetition < 400; ++repetition) {
    const Runs runs = draw(repetition, 10, kTarget, 0.4);
    rejected += hotelling_test(runs, kTarget).p < 0.05;
    found += hotelling_test(draw(repetition, 20, kTarget, 0.05), kHalving).p < 0.05;
  }
  EXPECT_NEAR(rejected / 400.0, 0.05, 0.038) << "3.5 standard errors of 0.011";
  EXPECT_GT(found, 395);
}

TEST(Hotelling, Degenerate) {
  const PointTest at = hotelling_test(Runs(4, kTarget), kTarget), off = hotelling_test(Runs(4, kTarget), kHalving);
  EXPECT_EQ(at.p, 1);
  EXPECT_EQ(at.t_squared, 0);
  EXPECT_EQ(off.p, 0);
  EXPECT_EQ(off.t_squared, kInfinity);
  // The first two parts always 2 : 1, so the runs lie on a line.
  const PointTest line = hotelling_test(Runs{{0.6, 0.3, 0.1}, {0.5, 0.25, 0.25}, {0.4, 0.2, 0.4}, {0.2, 0.1, 0.7}}, kTarget);
  EXPECT_TRUE(line.singular);
  EXPECT_EQ(line.p, 1);
  EXPECT_THROW(hotelling_test(Runs(2, kTarget), kTarget), std::logic_error) << "two runs, two coordinates";
  EXPECT_THROW(hotelling_test(Runs(4, kTarget), Share{0.5, 0.5}), std::logic_error);
}

TEST(ShareEquivalence, LargestOfThree) {
  const Runs runs = draw(2, 20, kTarget, 0.05);
  const ShareEquivalence e = share_equivalence(runs, kTarget, 0.05);
  std::vector<double> differences;
  for (const Share& run : runs) differences.push_back(run[0] - 0.6);
  EXPECT_NEAR(e.parts[0].p, equivalence_test(differences, -0.05, 0.05).p, 1e-12);
  EXPECT_EQ(e.p, std::max({e.parts[0].p, e.parts[1].p, e.parts[2].p}));
  EXPECT_LT(e.p, 0.001);
  EXPECT_LT(share_equivalence(draw(2, 20, kGolden, 0.05), kTarget, 0.05).p, 0.05) << "the margin cannot tell the golden ratio from it";
  EXPECT_EQ(share_equivalence(Runs{kTarget}, kTarget, 0.05).p, 1) << "one run tells nothing of others";
  EXPECT_EQ(share_equivalence(Runs(3, kTarget), kTarget, 0.05).p, 0);
  EXPECT_THROW(share_equivalence(runs, kTarget, 0), std::logic_error);
  EXPECT_THROW(share_equivalence(runs, Share{0.5, 0.5}, 0.05), std::logic_error);
}

// At the margin's corner equivalence is false: at most 0.05 of 400 repetitions, 3.5 standard errors of 0.011 above.
TEST(ShareEquivalence, SeldomHoldsAtTheMargin) {
  int claimed = 0;
  for (uint64_t repetition = 0; repetition < 400; ++repetition) claimed += share_equivalence(draw(repetition, 20, Share{0.65, 0.2, 0.15}, 0.1), kTarget, 0.05).p <= 0.05;
  EXPECT_LT(claimed / 400.0, 0.05 + 0.038);
}

TEST(ChanceWithin, ByHand) {
  // Two parts: the interval of width 2 margin. Three parts far from the border: the hexagon has 6 / 2 margin^2 of the triangle's 1 / 2.
  EXPECT_NEAR(chance_within(Share{0.5, 0.5}, 0.1), 0.2, 1e-15);
  EXPECT_NEAR(chance_within(Share{0.95, 0.05}, 0.1), 0.15, 1e-15);
  EXPECT_NEAR(chance_within(kTarget, 0.05), 6 * 0.05 * 0.05, 1e-14);
  EXPECT_NEAR(chance_within(kTarget, 0.02), 6 * 0.02 * 0.02, 1e-14);
  EXPECT_NEAR(chance_within(kTarget, 1), 1, 1e-15);
  EXPECT_THROW(chance_within(kTarget, 0), std::logic_error);
  EXPECT_THROW(chance_within(Share(17, 1.0 / 17), 0.1), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
