#include "entrain/statistics/cholesky.h"

#include <gtest/gtest.h>

namespace entrain::statistics {
namespace {

using Doubles = std::vector<double>;

TEST(Cholesky, ByHand) {
  // L = {2, 0; 1, 3}: A = {4, 2; 2, 10}, pivots 4 and 9. Its upper half is not read.
  const Cholesky a(Doubles{4, 99, 2, 10}, 2);
  EXPECT_EQ(a.smallest_pivot(), 4);
  const Doubles x = a.solve(Doubles{8, 22});  // A (1, 2)
  EXPECT_DOUBLE_EQ(x[0], 1);
  EXPECT_DOUBLE_EQ(x[1], 2);
}

TEST(Cholesky, NotPositiveDefinite) {
  const Cholesky singular(Doubles{1, 1, 1, 1}, 2), negative(Doubles{-1}, 1);
  EXPECT_EQ(singular.smallest_pivot(), 0);
  EXPECT_EQ(negative.smallest_pivot(), -1);
  EXPECT_THROW(singular.solve(Doubles{1, 1}), std::logic_error);
  EXPECT_THROW(Cholesky(Doubles{1, 2, 3}, 2), std::logic_error);
  EXPECT_THROW(Cholesky(Doubles{1}, 1).solve(Doubles{1, 2}), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
