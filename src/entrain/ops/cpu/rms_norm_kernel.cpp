#include "entrain/ops/cpu/kernels.h"
#include "entrain/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "entrain/ops/cpu/rms_norm_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again for each instruction set.
#include "entrain/ops/cpu/simd-inl.h"

#include <algorithm>
#include <cmath>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {

void rms_norm_forward(const cpu::Rows& x, const float* weight, float eps, int64_t width, int64_t begin, int64_t end, float* y,
                      float* rstd) {
  const int64_t whole = width - width % kLanes, rest = width - whole;
  for (int64_t i = begin; i < end; ++i) {
    const float* in = x.row(i);
    float* out = y + i * width;
    Vec squares = hn::Zero(kFloats);
    for (int64_t j = 0; j < whole; j += kLanes) {
      const Vec v = load(in + j);
      squares = hn::MulAdd(v, v, squares);
    }
    if (rest > 0) {
      const Vec v = load_first(in + whole, rest);
      squares = hn::MulAdd(v, v, squares);
    }
    const float scale = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(width) + eps);
    rstd[i] = scale;
    const Vec scales = set(scale);
    for (int64_t j = 0; j < whole; j += kLanes) store(hn::Mul(hn::Mul(load(in + j), scales), load(weight + j)), out + j);
    if (rest > 0) {
      store_first(hn::Mul(hn::Mul(load_first(in + whole, rest), scales), load_first(weight + whole, rest)), rest, out + whole);
    }
  }
}

// dx = rstd * (g w - xhat * mean(g w xhat)), dweight += g xhat, with xhat = x * rstd.
void rms_norm_backward(const cpu::Rows& grad, const cpu::Rows& x, const float* weight, const float* rstd, int64_t width, int64_t begin,
                       int64_t end, float* dx, float* weight_grad) {
  constexpr int64_t kRowsPerSum = 64;  // sums of sums keep the rounding error of long columns small
  const int64_t whole = width - width % kLanes, rest = width - whole;
  std::vector<float> partial(static_cast<size_t>(width));
  for (int64_t block = begin; block < end; block += kRowsPerSum) {
    std::fill(partial.begin(), partial.end(), 0.0f);
    for (int64_t i = block; i < std::min(end, block + kRowsPerSum); ++i) {
      const float *g = grad.row(i), *in = x.row(i);
      const Vec scales = set(rstd[i]);
      Vec dot = hn::Zero(kFloats);
      for (int64_t j = 0; j < whole; j += kLanes) {
        const Vec product = hn::Mul(load(g + j), hn::Mul(load(in + j), scales));  // g xhat
        store(hn::Add(load(partial.data() + j), product), partial.data() + j);
        dot = hn::MulAdd(product, load(weight + j), dot);
      }
      if (rest > 0) {
        const Vec product = hn::Mul(load_first(g + whole, rest), hn::Mul(load_first(in + whole, rest), scales));
        store_first(hn::Add(load_first(partial.data() + whole, rest), product), rest, partial.data() + whole);
        dot = hn::MulAdd(product, load_first(weight + whole, rest), dot);
      }
      const Vec pull = set(sum_lanes(dot) / static_cast<float>(width) * rstd[i]);  // mean(g w xhat) * rstd
      float* out = dx + i * width;
      for (int64_t j = 0; j < whole; j += kLanes) {
        store(hn::Mul(scales, hn::NegMulAdd(load(in + j), pull, hn::Mul(load(g + j), load(weight + j)))), out + j);
      }
      if (rest > 0) {
        const Vec weighted = hn::Mul(load_first(g + whole, rest), load_first(weight + whole, rest));
        store_first(hn::Mul(scales, hn::NegMulAdd(load_first(in + whole, rest), pull, weighted)), rest, out + whole);
      }
    }
    for (int64_t j = 0; j < width; ++j) weight_grad[j] += partial[static_cast<size_t>(j)];
  }
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace entrain::ops {

HWY_EXPORT(rms_norm_forward);
HWY_EXPORT(rms_norm_backward);

void cpu::rms_norm_forward(const Rows& x, const float* weight, float eps, int64_t width, int64_t begin, int64_t end, float* y,
                           float* rstd) {
  HWY_DYNAMIC_DISPATCH(rms_norm_forward)(x, weight, eps, width, begin, end, y, rstd);
}
void cpu::rms_norm_backward(const Rows& grad, const Rows& x, const float* weight, const float* rstd, int64_t width, int64_t begin,
                            int64_t end, float* dx, float* weight_grad) {
  HWY_DYNAMIC_DISPATCH(rms_norm_backward)(grad, x, weight, rstd, width, begin, end, dx, weight_grad);
}

}  // namespace entrain::ops
#endif
