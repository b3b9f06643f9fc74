#include "entrain/eval/association.h"

#include <gtest/gtest.h>

namespace entrain::eval {
namespace {

// Effect size by NumPy in float64. Of the six partitions of four targets none but the one seen associates as strongly.
TEST(Associate, IsTheDefinition) {
  const std::vector<float> x{1, 0, 1, 0.2f}, y{0, 1, 0.1f, 1}, a{1, 0.1f, 0.9f, 0}, b{0, 1, 0.3f, 1};
  const Association found = associate(x, y, a, b, 2), swapped = associate(y, x, a, b, 2);
  EXPECT_NEAR(found.effect_size, 1.7244355334, 1e-6);
  EXPECT_DOUBLE_EQ(found.p_value, 1.0 / 6);
  EXPECT_NEAR(swapped.effect_size, -found.effect_size, 1e-9);
  EXPECT_DOUBLE_EQ(swapped.p_value, 1);
}

TEST(Associate, DrawsPartitionsOfLargeSets) {
  std::vector<float> x, y;
  for (int i = 0; i < 20; ++i) {
    const float v = static_cast<float>(i % 5) * 0.1f;
    x.insert(x.end(), {1, v});
    y.insert(y.end(), {v, 1});
  }
  const std::vector<float> a{1, 0, 1, 0.1f}, b{0, 1, 0.1f, 1};
  EXPECT_DOUBLE_EQ(associate(x, y, a, b, 2).p_value, 1e-4);
  EXPECT_GT(associate(x, x, a, b, 2).p_value, 0.2);
  EXPECT_NEAR(associate(x, x, a, b, 2).effect_size, 0, 1e-9);
}

TEST(FitLine, ByHand) {
  const std::vector<double> x{0, 1, 2, 3, 4}, y{1, 3, 5, 7, 9.5};
  const Line line = fit_line(x, y);
  EXPECT_NEAR(line.slope, 2.1, 1e-12);
  EXPECT_GT(line.correlation, 0.99);
  EXPECT_TRUE(line.distinguishable);
  EXPECT_EQ(fit_line(x, std::vector<double>(5, 2.0)).slope, 0);
  EXPECT_FALSE(fit_line(std::vector<double>{1, 2, 3, 4}, std::vector<double>{1, -1, -1, 1}).distinguishable);
}

}  // namespace
}  // namespace entrain::eval
