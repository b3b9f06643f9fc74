#include "entrain/ops/ops.h"
#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

const Function kLinear = [](const auto& in) { return ops::linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor()); };

TEST(Linear, FloatMatchesDoubleOverOddShapes) {
  for (const int64_t width : {1, 7, 31, 100}) {
    for (const int64_t outputs : {1, 33, 96}) {
      for (const int64_t rows : {1, 17, 256}) {
        const std::vector<Tensor> in = {normal({2, rows, width}), normal({outputs, width}, 1 / std::sqrt(width), 2)};
        // Sums of up to 512 products; the error of a sum grows with the root of its length.
        expect_float_matches_double(kLinear, in, 3e-6);
        expect_float_matches_double(kLinear, {in[0], in[1], normal({outputs}, 1, 3)}, 3e-6);
      }
    }
  }
}

// Large enough for the library that sets up a primitive first, where the machine prefers it.
TEST(Linear, LargeProductsMatchDouble) {
  expect_float_matches_double(kLinear, {normal({700, 250}), normal({251, 250}, 1 / std::sqrt(250), 2), normal({251}, 1, 3)}, 3e-6);
}

TEST(Linear, GradientsMatchDifferences) {
  expect_gradients_match_differences(kLinear, {normal({2, 3, 4}), normal({5, 4}, 1, 2), normal({5}, 1, 3)});
}

TEST(Linear, ReadsViews) {
  const Tensor x = normal({700, 3, 256}).select(1, 1), weight = normal({256, 250}, 1, 2).t();
  EXPECT_TRUE(at::allclose(ops::linear(x, weight), ops::linear(x.contiguous(), weight.contiguous()), 1e-4, 1e-4));  // sums of 256 in another order
}

TEST(Linear, RepeatsAndPropagatesNonFinite) {
  expect_repeats(kLinear, {normal({700, 256}), normal({256, 256}, 1, 2)});
  Tensor x = normal({700, 256});
  x[7][5] = NAN;
  const Tensor y = ops::linear(x, normal({256, 256}, 1, 2));
  EXPECT_TRUE(y[7].isnan().all().item<bool>());
  EXPECT_TRUE(y[8].isfinite().all().item<bool>());
}

TEST(Linear, FrozenWeightGetsNoGradient) {
  const Tensor x = normal({5, 8}).requires_grad_(), weight = normal({12, 8});
  ops::linear(x, weight).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(weight.grad().defined());
}

TEST(Linear, RejectsWrongShapes) { EXPECT_THROW(ops::linear(normal({2, 4}), normal({5, 3})), c10::Error); }

}  // namespace
}  // namespace entrain::ops
