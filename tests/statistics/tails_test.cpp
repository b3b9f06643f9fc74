#include "entrain/statistics/tails.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Tails, ClosedForms) {
  EXPECT_NEAR(t_upper_tail(1, 1), 0.25, 1e-15);  // Cauchy
  EXPECT_NEAR(t_two_sided(-1, 1), 0.5, 1e-15);
  EXPECT_NEAR(normal_two_sided(1.959963984540054), 0.05, 1e-15);
  EXPECT_NEAR(chi_squared_upper_tail(3, 2), std::exp(-1.5), 1e-15);
  EXPECT_NEAR(f_upper_tail(2, 2, 4), 0.25, 1e-15);  // (1 + 2 x / m)^(-m / 2)
  EXPECT_NEAR(t_half_width(0.5, 1), 1, 1e-14);
  EXPECT_NEAR(normal_half_width(0.95), 1.959963984540054, 1e-14);
}

TEST(Tails, Limits) {
  EXPECT_EQ(t_upper_tail(kInfinity, 3), 0);
  EXPECT_EQ(t_upper_tail(-kInfinity, 3), 1);
  EXPECT_EQ(t_two_sided(0, 3), 1);
  EXPECT_EQ(normal_two_sided(-kInfinity), 0);
  EXPECT_EQ(chi_squared_upper_tail(0, 2), 1);
  EXPECT_EQ(chi_squared_upper_tail(kInfinity, 2), 0);
  EXPECT_EQ(f_upper_tail(kInfinity, 2, 3), 0);
  EXPECT_THROW(t_half_width(1, 3), std::logic_error);
  EXPECT_THROW(normal_half_width(0), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
