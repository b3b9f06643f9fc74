#include "entrain/train/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace entrain::train {
namespace {

/// Multipliers of the n steps of a run.
std::vector<double> steps(const ScheduleConfig& config, int64_t n) {
  std::vector<double> values;
  for (int64_t k = 0; k < n; ++k) values.push_back(lr_multiplier(config, static_cast<double>(k) / static_cast<double>(n), static_cast<double>(k + 1) / static_cast<double>(n)));
  return values;
}

TEST(LrSchedule, RisesLinearly) {
  for (const char* name : {"constant", "cosine", "linear", "wsd"}) {
    const auto values = steps({.name = name, .warmup = 0.1}, 100);
    for (size_t k = 0; k < 9; ++k) EXPECT_NEAR(values[k], static_cast<double>(k + 1) / 10, 1e-12) << name;
    EXPECT_NEAR(values[10], 1.0, 1e-12) << name;
    EXPECT_NEAR(steps({.name = name, .warmup = 0.0}, 100)[0], 1.0, 1e-12) << name << ": no warm-up, full rate at once";
  }
  const auto all = steps({.name = "cosine", .warmup = 1.0}, 4);
  EXPECT_EQ(all, (std::vector<double>{0.25, 0.5, 0.75, 1.0}));
}

TEST(LrSchedule, FallsAsNamed) {
  const int64_t n = 1000;
  const auto cosine = steps({.name = "cosine", .warmup = 0.1, .final_lr = 0.1}, n);
  const auto linear = steps({.name = "linear", .warmup = 0.1, .final_lr = 0.1}, n);
  for (const int64_t k : {100, 300, 550, 775, 999}) {
    const double part = static_cast<double>(k - 100) / 900;
    EXPECT_NEAR(cosine[static_cast<size_t>(k)], 0.1 + 0.9 * 0.5 * (1 + std::cos(std::numbers::pi * part)), 1e-12);
    EXPECT_NEAR(linear[static_cast<size_t>(k)], 0.1 + 0.9 * (1 - part), 1e-12);
  }
  EXPECT_NEAR(cosine[550], 0.55, 1e-12);
  EXPECT_NEAR(cosine.back(), 0.1, 1e-4);
  const auto wsd = steps({.name = "wsd", .warmup = 0.1, .decay = 0.2}, n);
  const auto root = steps({.name = "wsd", .warmup = 0.1, .decay = 0.2, .decay_shape = "1-sqrt"}, n);
  for (size_t k = 100; k <= 800; ++k) {
    EXPECT_EQ(wsd[k], 1.0);
    EXPECT_EQ(root[k], 1.0);
  }
  EXPECT_NEAR(wsd[900], 0.5, 1e-12);
  EXPECT_NEAR(root[900], 1 - std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(wsd.back(), 1.0 / 200, 1e-12);
  EXPECT_NEAR(root.back(), 1 - std::sqrt(199.0 / 200), 1e-12);
  EXPECT_EQ(steps({.name = "wsd", .warmup = 0.0, .decay = 0.0}, 10), std::vector<double>(10, 1.0));
  EXPECT_EQ(steps({.name = "constant", .warmup = 0.0}, 10), std::vector<double>(10, 1.0));
}

// No step is lost: even with a final rate of 0 every multiplier is in (0, 1], in runs of any length, and after the warm-up none rises.
TEST(LrSchedule, NoStepIsLost) {
  for (const char* name : {"constant", "cosine", "linear", "wsd"}) {
    for (const char* shape : {"linear", "1-sqrt"}) {
      for (const double warmup : {0.0, 0.02, 0.5, 0.8, 1.0}) {
        for (const int64_t n : {1, 2, 3, 10, 101, 5000}) {
          const auto values = steps({.name = name, .warmup = warmup, .decay = 0.2, .decay_shape = shape}, n);
          for (size_t k = 0; k < values.size(); ++k) {
            ASSERT_GT(values[k], 0.0) << name << " warm-up " << warmup << " step " << k << " of " << n;
            ASSERT_LE(values[k], 1.0);
            const bool rising = k == 0 || static_cast<double>(k) <= warmup * static_cast<double>(n);
            ASSERT_TRUE(rising || values[k] <= values[k - 1] + 1e-12) << name << " step " << k << " of " << n;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace entrain::train
