#include "entrain/eval/summary.h"

#include <gtest/gtest.h>

namespace entrain::eval {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

TEST(MeanMetric, HasTheErrorOfTheMean) {
  const std::vector<double> values{1, 0, 0, 1, 1};
  const Metric metric = mean_metric("acc", values, 0.5);
  EXPECT_DOUBLE_EQ(metric.value, 0.6);
  EXPECT_NEAR(metric.standard_error, std::sqrt(1.2 / 4 / 5), 1e-12);  // squares about the mean: 3 * 0.16 + 2 * 0.36
  EXPECT_FALSE(metric.distinguishable);
  EXPECT_FALSE(metric.above_chance());
  EXPECT_LT(metric.low, 0.6);
  EXPECT_GT(metric.high, 0.6);
  EXPECT_TRUE(std::isnan(mean_metric("acc", std::vector<double>{1}).standard_error));
}

// 2 * 0.5^n, two-sided: 0.0625 at five, 0.03125 at six.
TEST(MeanMetric, IsToldFromChanceExactly) {
  EXPECT_FALSE(mean_metric("acc", std::vector<double>(5, 1.0), 0.5).distinguishable);
  EXPECT_TRUE(mean_metric("acc", std::vector<double>(6, 1.0), 0.5).above_chance());
  EXPECT_TRUE(mean_metric("acc", std::vector<double>(6, 0.0), 0.5).distinguishable);
  EXPECT_FALSE(mean_metric("acc", std::vector<double>(6, 0.0), 0.5).above_chance());
}

TEST(RatioMetric, IsASumOverASum) {
  const std::vector<double> bits{2, 6, 4}, bytes{1, 2, 1};
  const Metric metric = ratio_metric("bits_per_byte", bits, bytes);
  EXPECT_DOUBLE_EQ(metric.value, 3);
  // residuals (a - 3 b) / mean b with mean b = 4 / 3: -0.75, 0, 0.75
  EXPECT_NEAR(metric.standard_error, std::sqrt(2 * 0.75 * 0.75 / 2 / 3), 1e-12);
}

// Its error agrees with the first-order one, value * sd / sqrt(n): 10,000 draws leave 1 %, the curvature another.
TEST(PerplexityMetric, BootstrapsItsError) {
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back(-2 - 0.25 * (i % 5));
  const Metric metric = perplexity_metric("perplexity", values);
  EXPECT_DOUBLE_EQ(metric.value, std::exp(2.5));
  EXPECT_NEAR(metric.standard_error / (metric.value * standard_error(values)), 1, 0.04);
  EXPECT_EQ(perplexity_metric("perplexity", values).standard_error, metric.standard_error) << "the same draws every time";
}

TEST(Groups, ComeTogetherInThreeWays) {
  std::vector<ItemScore> items;
  const auto add = [&](const char* group, std::vector<double> values) {
    for (const double v : values) items.push_back({.group = group, .values = {v}});
  };
  add("a", {1, 1, 0, 0});
  add("b", {1, 1, 1, 1, 1, 1, 1, 0});
  const Table table({"acc"}, items);
  const double a = std::sqrt(1.0 / 3 / 4), b = std::sqrt(0.875 / 7 / 8);  // errors of each group's mean
  const Metric pooled = pooled_metric("acc", table, "acc", 0.5), unweighted = group_mean_metric("acc", table, "acc", 0.5), clustered = clustered_metric("acc", table, "acc", 0.5);
  EXPECT_DOUBLE_EQ(pooled.value, 9.0 / 12);
  EXPECT_NEAR(pooled.standard_error, std::sqrt((3 * a * a * 4 + 7 * b * b * 8) / (12 - 2) / 12), 1e-12);
  EXPECT_DOUBLE_EQ(unweighted.value, (0.5 + 0.875) / 2);
  EXPECT_NEAR(unweighted.standard_error, std::sqrt(a * a + b * b) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(clustered.value, unweighted.value);
  EXPECT_NEAR(clustered.standard_error, 0.1875, 1e-12);
  EXPECT_EQ(clustered.n, 2);
}

TEST(Table, LeavesOutWhatDoesNotConcernAnItem) {
  const std::vector<ItemScore> items{{.values = {1, 5}}, {.values = {kNone, 6}}, {.values = {0, 7}}};
  const Table table({"a", "b"}, items);
  EXPECT_EQ(table.column("a"), (std::vector<double>{1, 0}));
  EXPECT_EQ(table.columns("a", "b").second, (std::vector<double>{5, 7}));
  EXPECT_EQ(table.where("a", 0).column("b"), std::vector<double>{7});
}

}  // namespace
}  // namespace entrain::eval
