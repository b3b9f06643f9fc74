#include "entrain/statistics/power.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "entrain/statistics/hypothesis.h"

namespace entrain::statistics {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(PairedTPower, KnownValues) {
  EXPECT_NEAR(paired_t_power(0, 1, 5), 0.05, 1e-14);
  EXPECT_NEAR(paired_t_power(0, 1, 5, 0.01), 0.01, 1e-14);
  EXPECT_NEAR(paired_t_power(0.5, 1, 34), 0.8077775, 1e-6);  // Cohen's textbook case: 34 pairs for half an sd
  EXPECT_NEAR(paired_t_power(1, 1, 10), 0.8030969, 1e-6);    // ten pairs find one sd
  EXPECT_NEAR(paired_t_power(0.2, 1, 1000000), 1, 1e-15);
  EXPECT_EQ(paired_t_power(1e6, 1, 2), 1);
  // Far out the statistic is shift / |V| with V standard normal at one degree of freedom, and its critical value 1 / tan(pi alpha / 2).
  for (const double shift : {3e4, 4.9e4, 5.1e4, 3e5}) {
    const double power = std::erf(shift * std::tan(std::acos(-1.0) * 1e-5 / 2) / std::sqrt(2.0));
    EXPECT_NEAR(paired_t_power(shift / std::sqrt(2.0), 1, 2, 1e-5), power, 2e-9) << shift;
  }
}

TEST(PairedTPower, DependsOnTheRatioAndRises) {
  EXPECT_NEAR(paired_t_power(0.004, 0.0019, 5), paired_t_power(-0.004 / 0.0019, 1, 5), 1e-13);
  double before = 0;
  for (int64_t n = 2; n < 40; ++n) {
    const double power = paired_t_power(0.6, 1, n);
    EXPECT_GT(power, before);
    before = power;
  }
}

// The share of 4,000 simulated experiments that the t-test rejects: its standard deviation is 0.8 %.
TEST(PairedTPower, IsTheShareOfRejections) {
  RandomStream random = stream(1, "power");
  for (const auto& [effect, n] : std::vector<std::pair<double, int>>{{1.0, 5}, {0.5, 12}}) {
    int rejected = 0;
    for (int repetition = 0; repetition < 4000; ++repetition) {
      std::vector<double> differences;
      for (int i = 0; i < n; ++i) differences.push_back(effect + random.next_normal());
      rejected += paired_t_test(differences).p < 0.05;
    }
    EXPECT_NEAR(rejected / 4000.0, paired_t_power(effect, 1, n), 0.025);
  }
}

TEST(PairedTPairs, IsTheSmallestNumber) {
  EXPECT_EQ(paired_t_pairs(0.5, 1), 34);
  EXPECT_EQ(paired_t_pairs(1, 1), 10);
  EXPECT_EQ(paired_t_pairs(-1, 1), 10);
  EXPECT_EQ(paired_t_pairs(100, 1), 2);
  for (const double effect : {0.01, 0.13, 0.4, 0.9, 2.0, 5.0}) {
    for (const TestDesign design : {TestDesign{}, TestDesign{0.01, 0.9}}) {
      const int64_t n = paired_t_pairs(effect, 1, design);
      EXPECT_GE(paired_t_power(effect, 1, n, design.alpha), design.power);
      if (n > 2) {
        EXPECT_LT(paired_t_power(effect, 1, n - 1, design.alpha), design.power);
      }
    }
  }
}

TEST(PairedTDetectableEffect, HasThePower) {
  for (const int64_t n : {2, 3, 5, 10, 100, 10000}) {
    const double effect = paired_t_detectable_effect(0.0019, n, {0.01, 0.9});
    EXPECT_NEAR(paired_t_power(effect, 0.0019, n, 0.01), 0.9, 1e-10) << n;
  }
  EXPECT_NEAR(paired_t_detectable_effect(2, 10), 2 * paired_t_detectable_effect(1, 10), 1e-12);
}

TEST(McNemarItems, Examples) {
  EXPECT_EQ(mcnemar_items(0.02, 0.06), 1175);
  EXPECT_EQ(mcnemar_items(0.01, 0.04), 3138);
  EXPECT_EQ(mcnemar_items(0.005, 0.03), 9417);
  EXPECT_EQ(mcnemar_items(-0.02, 0.06), 1175);
  EXPECT_EQ(mcnemar_items(0.05, 0.05), 155) << "all on one side: (1.959964 + 0.841621 sqrt(0.95))^2 / 0.05 = 154.53";
}

TEST(PairedMeanItems, ByHand) {
  // (1.959964 + 0.841621)^2 = 7.84888
  EXPECT_EQ(paired_mean_items(1, 1), 8);
  EXPECT_EQ(paired_mean_items(-0.1, 1), 785);
  EXPECT_EQ(paired_mean_items(0.01, 2), 313956);
  EXPECT_EQ(paired_mean_items(1000, 1), 1);
}

TEST(ProportionDetectableDifference, Examples) {
  // MMLU, GSM8K, HellaSwag and one WinoBias file, in points: unpaired, and at a correlation of 0.8 between the models' answers.
  EXPECT_NEAR(100 * proportion_detectable_difference(0.25, 14042), 1.45, 0.005);
  EXPECT_NEAR(100 * proportion_detectable_difference(0.02, 1319), 1.53, 0.005);
  EXPECT_NEAR(100 * proportion_detectable_difference(0.30, 10042), 1.81, 0.005);
  EXPECT_NEAR(100 * proportion_detectable_difference(0.60, 396), 9.75, 0.005);
  EXPECT_NEAR(100 * proportion_detectable_difference(0.25, 14042, 0.8), 0.65, 0.005);
  EXPECT_NEAR(100 * proportion_detectable_difference(0.60, 396, 0.8), 4.36, 0.005);
  EXPECT_EQ(proportion_detectable_difference(0, 100), 0);
  EXPECT_EQ(proportion_detectable_difference(0.5, 100, 1), 0);
}

TEST(Power, RefusesWhatHasNoAnswer) {
  EXPECT_THROW(paired_t_power(1, 0, 5), std::logic_error);
  EXPECT_THROW(paired_t_power(1, 1, 1), std::logic_error);
  EXPECT_THROW(paired_t_power(1, 1, 5, 0), std::logic_error);
  EXPECT_THROW(paired_t_power(kNan, 1, 5), std::logic_error);
  EXPECT_THROW(paired_t_pairs(0, 1), std::logic_error);
  EXPECT_THROW(paired_t_pairs(kNan, 1), std::logic_error);
  EXPECT_THROW(paired_t_pairs(1, 1, {0.05, 1}), std::logic_error);
  EXPECT_THROW(paired_t_pairs(1, 1, {0.05, 0.04}), std::logic_error);
  EXPECT_THROW(paired_t_detectable_effect(0, 5), std::logic_error);
  EXPECT_THROW(paired_t_detectable_effect(1, 1), std::logic_error);
  EXPECT_THROW(mcnemar_items(0.1, 0.05), std::logic_error);
  EXPECT_THROW(mcnemar_items(0, 0.05), std::logic_error);
  EXPECT_THROW(mcnemar_items(0.1, 1.5), std::logic_error);
  EXPECT_THROW(paired_mean_items(0, 1), std::logic_error);
  EXPECT_THROW(paired_mean_items(1, 0), std::logic_error);
  EXPECT_THROW(proportion_detectable_difference(1.2, 10), std::logic_error);
  EXPECT_THROW(proportion_detectable_difference(0.2, 0), std::logic_error);
  EXPECT_THROW(proportion_detectable_difference(0.2, 10, 1.5), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
