#include "entrain/ops/ops.h"
#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

Function turn(int64_t head_width, int64_t offset) {
  const auto [cos, sin] = rope_tables(300, head_width, 1e4);
  return [=, c = cos, s = sin](const auto& in) { return rope(in[0], c.to(in[0].scalar_type()), s.to(in[0].scalar_type()), offset); };
}

TEST(Rope, FloatMatchesDoubleOverOddShapes) {
  for (const int64_t width : {2, 6, 32, 34, 64}) {
    for (const int64_t positions : {1, 2, 17, 129}) {
      expect_float_matches_double(turn(width, 3), {normal({2, positions, 3, width})}, 3e-7);  // two products and a sum
    }
  }
}

TEST(Rope, ReadsHeadsOfAPackedProjection) {
  const Tensor view = normal({2, 17, 3, 4, 8}).select(2, 1);
  EXPECT_TRUE(at::equal(turn(8, 2)({view}), turn(8, 2)({view.contiguous()})));
  const Tensor transposed = normal({2, 4, 17, 8}).transpose(1, 2);
  EXPECT_TRUE(at::equal(turn(8, 2)({transposed}), turn(8, 2)({transposed.contiguous()})));
}

TEST(Rope, GradientsMatchDifferences) { expect_gradients_match_differences(turn(4, 5), {normal({1, 3, 2, 4})}); }

// Equation 34 of arXiv 2104.09864: a turn by the position's angle, which keeps lengths and makes products depend on distance only.
TEST(Rope, TurnsPairsByThePositionsAngle) {
  const Tensor x = at::zeros({1, 4, 1, 4});
  x.select(3, 0).fill_(1);  // the first component is paired with the third
  const Tensor y = turn(4, 7)({x});
  for (int64_t t = 0; t < 4; ++t) {
    EXPECT_NEAR(y[0][t][0][0].item<double>(), std::cos(7.0 + static_cast<double>(t)), 1e-6);
    EXPECT_NEAR(y[0][t][0][2].item<double>(), std::sin(7.0 + static_cast<double>(t)), 1e-6);
  }
  const Tensor q = normal({1, 1, 1, 32}), k = normal({1, 1, 1, 32}, 1, 2);
  const double near = (turn(32, 5)({q}) * turn(32, 2)({k})).sum().item<double>();
  const double far = (turn(32, 205)({q}) * turn(32, 202)({k})).sum().item<double>();
  EXPECT_NEAR(near, far, 1e-4);  // angles of 200 radians carry 200 * 6e-8 of rounding, times 32 products
}

TEST(Rope, OffsetContinuesASequence) {
  const Tensor x = normal({2, 10, 3, 8});
  EXPECT_TRUE(at::equal(turn(8, 0)({x}).slice(1, 6), turn(8, 6)({x.slice(1, 6)})));
}

TEST(Rope, RejectsPositionsBeyondTheTables) {
  EXPECT_THROW(turn(8, 299)({normal({1, 2, 1, 8})}), c10::Error);
  EXPECT_THROW(turn(8, 0)({normal({1, 2, 1, 6})}), c10::Error);
}

}  // namespace
}  // namespace entrain::ops
