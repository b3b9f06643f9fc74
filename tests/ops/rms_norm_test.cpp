#include "entrain/ops/ops.h"
#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

const Function kNorm = [](const auto& in) { return rms_norm(in[0], in[1], 1e-5); };

TEST(RmsNorm, FloatMatchesDoubleOverOddShapes) {
  for (const int64_t width : {1, 7, 31, 64, 100}) {
    for (const int64_t rows : {1, 2, 17, 129, 700}) {
      // A few roundings an element and, in the weight's gradient, a sum over up to 700 rows.
      expect_float_matches_double(kNorm, {normal({rows, width}), normal({width}, 1, 2)}, 2e-6);
    }
  }
}

TEST(RmsNorm, ReadsHeadsOfAPackedProjection) {
  const Tensor packed = normal({3, 17, 3 * 4 * 16});
  const Function norm_of_keys = [](const auto& in) { return rms_norm(in[0].unflatten(2, {3, 4, 16}).select(2, 1), in[1], 1e-5); };
  expect_float_matches_double(norm_of_keys, {packed, normal({16}, 1, 2)}, 2e-6);
  // The view is read in place: its values are those of a copy, bit for bit. Transposed heads and columns too.
  const Tensor weight = normal({16}), view = packed.unflatten(2, {3, 4, 16}).select(2, 1);
  for (const Tensor& x : {view, view.transpose(1, 2), view.transpose(0, 1), view.slice(1, 0, 17, 2), view.transpose(2, 3).contiguous().transpose(2, 3)}) {
    EXPECT_TRUE(at::equal(rms_norm(x, weight, 1e-5), rms_norm(x.contiguous(), weight, 1e-5)));
  }
}

TEST(RmsNorm, GradientsMatchDifferences) { expect_gradients_match_differences(kNorm, {normal({2, 3, 5}), normal({5}, 1, 2)}); }

TEST(RmsNorm, Repeats) { expect_repeats(kNorm, {normal({513, 100}), normal({100}, 1, 2)}); }

TEST(RmsNorm, ExtremeAndNonFiniteInputs) {
  const Tensor weight = at::ones({8});
  EXPECT_TRUE(at::equal(rms_norm(at::zeros({2, 8}), weight, 1e-5), at::zeros({2, 8})));
  EXPECT_TRUE(at::allclose(rms_norm(at::full({2, 8}, 1e15), weight, 1e-5), at::ones({2, 8}), 1e-6));
  Tensor x = at::ones({2, 8});
  x[1][3] = NAN;
  const Tensor y = rms_norm(x, weight, 1e-5);
  EXPECT_TRUE(y[0].isfinite().all().item<bool>());
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
}

TEST(RmsNorm, HalfPrecisionComputesInFloat) {
  const Tensor x = normal({4, 32}).to(at::kBFloat16), weight = normal({32}).to(at::kBFloat16);
  const Tensor y = rms_norm(x, weight, 1e-5);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  // One rounding to 8 bits of mantissa: 2^-8 of the value.
  EXPECT_TRUE(at::allclose(y.to(at::kFloat), rms_norm(x.to(at::kFloat), weight.to(at::kFloat), 1e-5), 1.0 / 256, 1e-6));
}

TEST(RmsNorm, RejectsWrongShapes) { EXPECT_THROW(rms_norm(normal({2, 4}), normal({5}), 1e-5), c10::Error); }

}  // namespace
}  // namespace entrain::ops
