#include "entrain/statistics/resampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace entrain::statistics {
namespace {

/// Units of unequal size whose models differ by `difference` nats a token on average; the spread of a unit's difference is 0.3.
std::vector<PairedUnit> make_units(uint64_t seed, size_t n, double difference) {
  RandomStream random = stream(seed, "units");
  std::vector<PairedUnit> units(n);
  for (PairedUnit& unit : units) {
    unit.weight = 50 + static_cast<double>(random.next_below(101));
    const double hardness = 3 + random.next_normal();  // shared by both models, so it must cancel
    unit.b = unit.weight * hardness;
    unit.a = unit.b + unit.weight * (difference + 0.3 * random.next_normal());
  }
  return units;
}

/// The same units under several seeds, whose own differences spread by seed_sd around `difference` nats a token.
std::vector<std::vector<PairedUnit>> make_seeds(uint64_t repetition, size_t n_seeds, size_t n_units, double difference, double seed_sd) {
  const auto units = make_units(repetition, n_units, difference);
  RandomStream random = stream(repetition, "seeds");
  std::vector<std::vector<PairedUnit>> by_seed(n_seeds, units);
  for (auto& seed : by_seed) {
    const double shift = seed_sd * random.next_normal();
    for (PairedUnit& unit : seed) unit.a += unit.weight * shift;
  }
  return by_seed;
}

TEST(PercentileInterval, ByHand) {
  // Order statistics 0..40: the 2.5 % and 97.5 % quantiles lie at positions 1 and 39, the 5 % and 95 % ones at 2 and 38.
  std::vector<double> values;
  for (int i = 40; i >= 0; --i) values.push_back(i * i);
  const Interval i95 = percentile_interval(7, values, 0.95), i90 = percentile_interval(7, values, 0.9);
  EXPECT_EQ(i95.estimate, 7);
  EXPECT_NEAR(i95.low, 1, 1e-9);
  EXPECT_NEAR(i95.high, 39 * 39, 1e-9);
  EXPECT_NEAR(i90.low, 4, 1e-9);
  EXPECT_NEAR(i90.high, 38 * 38, 1e-9);
  const Interval between = percentile_interval(0, {10, 20}, 0.5);  // a quarter of the way from each end
  EXPECT_DOUBLE_EQ(between.low, 12.5);
  EXPECT_DOUBLE_EQ(between.high, 17.5);
  EXPECT_THROW(percentile_interval(0, {}, 0.95), std::logic_error);
  EXPECT_THROW(percentile_interval(0, {1}, 1.0), std::logic_error);
  EXPECT_THROW(percentile_interval(0, {1}, 0.0), std::logic_error);
}

TEST(Interval, ALimitIsInside) {
  EXPECT_FALSE((Interval{0.1, 0.0, 0.2}).excludes(0)) << "an interval that touches 0";
  EXPECT_FALSE((Interval{-0.1, -0.2, 0.0}).excludes(0));
  EXPECT_TRUE((Interval{0.1, 0.05, 0.2}).excludes(0));
  EXPECT_TRUE((Interval{-0.1, -0.2, -0.05}).excludes(0));
  EXPECT_TRUE((Interval{0.1, 0.05, 0.2}).excludes(0.3));
}

TEST(PairedBootstrap, MeansByHand) {
  const std::vector<PairedUnit> two{{10, 4, 2}, {3, 5, 8}}, one{{10, 4, 2}};
  const Interval d = paired_bootstrap(two, 1000, stream(1, "b"));
  EXPECT_DOUBLE_EQ(d.estimate, (6.0 - 2.0) / 10.0);
  // Two units have four draws: both alike (a quarter each: 3 and -0.25) or mixed.
  EXPECT_DOUBLE_EQ(d.high, 3.0);
  EXPECT_DOUBLE_EQ(d.low, -0.25);
  EXPECT_FALSE(d.excludes(0));
  const Interval half = paired_bootstrap(two, 1000, stream(1, "b"), 0.4);  // the middle half of the draws is mixed
  EXPECT_DOUBLE_EQ(half.low, 0.4);
  EXPECT_DOUBLE_EQ(half.high, 0.4);
  const Interval single = paired_bootstrap(one, 100, stream(1, "b"));
  EXPECT_EQ(single.low, 3.0);
  EXPECT_EQ(single.high, 3.0);
}

// The 95 % interval holds the truth in 95 % of 300 repetitions; the share of 300 draws has a standard deviation of 1.3 %, and
// percentile intervals of 60 units are known to fall short by about 1 %: 0.91 to 0.985 is three deviations around that. Their mean
// width is 2 x 1.96 standard errors, which are 0.3 sqrt(E t^2 / (E t)^2 / 60) = 0.0403 for units of t = 50..150 tokens; 5 % allows
// for the bootstrap's own bias (1 %) and 500 resamples.
TEST(PairedBootstrap, ItsIntervalHoldsTheTruth) {
  for (const double truth : {0.0, 0.2}) {
    int covered = 0, below = 0, above = 0;
    double width = 0;
    for (uint64_t repetition = 0; repetition < 300; ++repetition) {
      const Interval d = paired_bootstrap(make_units(repetition, 60, truth), 500, stream(repetition, "resample"));
      width += (d.high - d.low) / 300;
      EXPECT_LE(d.low, d.estimate);
      EXPECT_GE(d.high, d.estimate);
      covered += d.low <= truth && truth <= d.high;
      below += truth < d.low;
      above += truth > d.high;
    }
    EXPECT_NEAR(width, 2 * 1.96 * 0.0403, 0.05 * 2 * 1.96 * 0.0403);
    EXPECT_GE(covered, 273) << truth;
    EXPECT_LE(covered, 296) << truth;
    EXPECT_GT(below, 0) << "misses on both sides";
    EXPECT_GT(above, 0);
  }
}

TEST(PairedBootstrap, FindsAPlantedDifferenceAndNoOther) {
  // 0.15 nats a token is four standard errors of 0.3 / sqrt(60), although single units differ by a whole nat in hardness.
  const Interval worse = paired_bootstrap(make_units(1, 60, 0.15), 2000, stream(1, "b")), better = paired_bootstrap(make_units(1, 60, -0.15), 2000, stream(1, "b"));
  EXPECT_TRUE(worse.excludes(0));
  EXPECT_GT(worse.low, 0);
  EXPECT_TRUE(better.excludes(0));
  EXPECT_LT(better.high, 0);
  std::vector<PairedUnit> same = make_units(2, 60, 0.5);
  for (PairedUnit& unit : same) unit.a = unit.b;
  const Interval none = paired_bootstrap(same, 1000, stream(1, "b"));
  EXPECT_EQ(none.estimate, 0);
  EXPECT_EQ(none.low, 0);
  EXPECT_EQ(none.high, 0);
  EXPECT_FALSE(none.excludes(0));
}

TEST(PairedBootstrap, RepeatsWithItsStream) {
  const auto units = make_units(3, 40, 0.1);
  const Interval a = paired_bootstrap(units, 500, stream(1, "b")), b = paired_bootstrap(units, 500, stream(1, "b")), c = paired_bootstrap(units, 500, stream(2, "b"));
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
  EXPECT_EQ(a.estimate, c.estimate);
}

TEST(PairedBootstrap, RefusesWhatItCannotResample) {
  const auto units = make_units(3, 4, 0.1);
  const std::vector<PairedUnit> none, weightless{{1, 2, 1}, {1, 2, 0}}, unknown{{1, 2, std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_THROW(paired_bootstrap(none, 100, stream(1, "b")), std::logic_error);
  EXPECT_THROW(paired_bootstrap(weightless, 100, stream(1, "b")), std::logic_error);
  EXPECT_THROW(paired_bootstrap(unknown, 100, stream(1, "b")), std::logic_error);
  EXPECT_THROW(paired_bootstrap(units, 0, stream(1, "b")), std::logic_error);
  EXPECT_THROW(paired_bootstrap(units, 100, stream(1, "b"), 1), std::logic_error);
}

TEST(NestedBootstrap, OneSeedIsThePairedBootstrap) {
  const auto units = make_units(4, 50, 0.1);
  const Interval nested = nested_bootstrap({units}, 2000, stream(1, "b")), paired = paired_bootstrap(units, 2000, stream(1, "b"));
  EXPECT_EQ(nested.estimate, paired.estimate);
  EXPECT_EQ(nested.low, paired.low);
  EXPECT_EQ(nested.high, paired.high);
}

TEST(NestedBootstrap, SeedsThatAgreeAddNothing) {
  const auto units = make_units(5, 50, 0.1);
  const Interval three = nested_bootstrap({units, units, units}, 20000, stream(1, "b")), one = paired_bootstrap(units, 20000, stream(2, "b"));
  EXPECT_NEAR(three.estimate, one.estimate, 1e-12);
  // 20,000 draws know a 2.5 % quantile to 1.5 % of the interval's half width; four times that.
  const double half = (one.high - one.low) / 2;
  EXPECT_NEAR(three.low, one.low, 0.06 * half);
  EXPECT_NEAR(three.high, one.high, 0.06 * half);
}

// Two seeds that differ in one unit: seeds (1,1), (1,2), (2,2) with chances 1/4, 1/2, 1/4 and the mean of theirs.
TEST(NestedBootstrap, DrawsSeedsByHand) {
  const std::vector<std::vector<PairedUnit>> by_seed{{{4, 0, 2}}, {{0, 0, 2}}};
  const Interval d = nested_bootstrap(by_seed, 4000, stream(1, "b")), middle = nested_bootstrap(by_seed, 4000, stream(1, "b"), 0.4);
  EXPECT_DOUBLE_EQ(d.estimate, 1);
  EXPECT_DOUBLE_EQ(d.low, 0);
  EXPECT_DOUBLE_EQ(d.high, 2);
  EXPECT_DOUBLE_EQ(middle.low, 1);
  EXPECT_DOUBLE_EQ(middle.high, 1);
}

// The same units for all seeds of a draw: where a unit is +1 under one seed and -1 under the other, every draw of both seeds gives
// 0. Drawn seed by seed they would not, and the middle interval would have a width.
TEST(NestedBootstrap, DrawsTheSameUnitsForAllSeeds) {
  std::vector<std::vector<PairedUnit>> by_seed(2);
  for (int i = 0; i < 20; ++i) {
    by_seed[0].push_back({i % 2 ? 1.0 : -1.0, 0, 1});
    by_seed[1].push_back({i % 2 ? -1.0 : 1.0, 0, 1});
  }
  // Half of the draws have both seeds: exactly 0. The others are symmetric around it, so the middle 40 % lie among the zeros.
  const Interval middle = nested_bootstrap(by_seed, 4000, stream(1, "b"), 0.4);
  EXPECT_EQ(middle.low, 0);
  EXPECT_EQ(middle.high, 0);
  EXPECT_GT(nested_bootstrap(by_seed, 4000, stream(1, "b")).high, 0.2);
}

// With 12 seeds of spread 0.1 and 60 units, the standard error is sqrt(0.1^2 * 11 / 12 / 12 + 0.0403^2) nats (the bootstrap's seed
// variance lacks the factor n / (n - 1)): 0.0488, where the units alone have 0.0403. 200 repetitions know the mean width to 1.5 %
// (seeds' own sd: 20 % / sqrt(200) of their part); 6 % is four of them.
TEST(NestedBootstrap, TheSpreadBetweenSeedsCounts) {
  double width = 0;
  int covered = 0;
  for (uint64_t repetition = 0; repetition < 200; ++repetition) {
    const Interval d = nested_bootstrap(make_seeds(repetition, 12, 60, 0.1, 0.1), 400, stream(repetition, "resample"));
    width += (d.high - d.low) / 200;
    covered += !d.excludes(0.1);
  }
  EXPECT_NEAR(width, 2 * 1.96 * 0.0488, 0.06 * 2 * 1.96 * 0.0488);
  EXPECT_GE(covered, 178);  // 93 % less three deviations of 1.8 %
  EXPECT_LE(covered, 197);
}

TEST(NestedBootstrap, RefusesSeedsOfOtherUnits) {
  const auto units = make_units(6, 10, 0.1);
  auto fewer = units, heavier = units;
  fewer.pop_back();
  heavier[3].weight += 1;
  EXPECT_THROW(nested_bootstrap({units, fewer}, 10, stream(1, "b")), std::logic_error);
  EXPECT_THROW(nested_bootstrap({units, heavier}, 10, stream(1, "b")), std::logic_error);
  EXPECT_THROW(nested_bootstrap({}, 10, stream(1, "b")), std::logic_error);
  EXPECT_THROW(nested_bootstrap({{}, {}}, 10, stream(1, "b")), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
