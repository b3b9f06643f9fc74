// Sums of rows under the signs of their keys, and the update of a row.

#include "entrain/ops/cpu/hash.h"
#include "entrain/ops/cpu/kernels.h"
#include "entrain/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "entrain/ops/cpu/hashed_rows_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again for each instruction set.
#include "entrain/ops/cpu/simd-inl.h"

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {

// A sign word is used as two halves of 32 channels, whole vectors each: lane i of the vector at channel c takes bit c + i.
void add_signed(float scale, const float* x, int64_t key, int64_t width, float* out) {
  static_assert(32 % kLanes == 0);
  constexpr hn::RebindToUnsigned<Floats> kBits;
  const Vec scales = set(scale);
  for (int64_t half = 0; half * 32 < width; ++half) {
    const auto word = static_cast<uint32_t>(cpu::sign_word(key, half / 2) >> (32 * (half % 2)));
    const int64_t end = half * 32 + 32 < width ? half * 32 + 32 : width;
    for (int64_t c = half * 32; c < end; c += kLanes) {
      const auto lane = hn::Iota(kBits, static_cast<uint32_t>(c - half * 32));
      const Vec sign = hn::BitCast(kFloats, hn::ShiftLeft<31>(hn::Shr(hn::Set(kBits, word), lane)));
      const int64_t n = end - c;
      if (n >= kLanes) {
        store(hn::MulAdd(hn::Xor(load(x + c), sign), scales, load(out + c)), out + c);
      } else {
        store_first(hn::MulAdd(hn::Xor(load_first(x + c, n), sign), scales, load_first(out + c, n)), n, out + c);
      }
    }
  }
}

void row_adagrad(const float* g, int64_t width, float lr, float eps, float* row, float* sum) {
  const int64_t whole = width - width % kLanes, rest = width - whole;
  Vec squares = hn::Zero(kFloats);
  for (int64_t c = 0; c < whole; c += kLanes) squares = hn::MulAdd(load(g + c), load(g + c), squares);
  if (rest > 0) squares = hn::MulAdd(load_first(g + whole, rest), load_first(g + whole, rest), squares);
  *sum += sum_lanes(squares) / static_cast<float>(width);
  const Vec rate = set(lr / (std::sqrt(*sum) + eps));
  for (int64_t c = 0; c < whole; c += kLanes) store(hn::NegMulAdd(load(g + c), rate, load(row + c)), row + c);
  if (rest > 0) store_first(hn::NegMulAdd(load_first(g + whole, rest), rate, load_first(row + whole, rest)), rest, row + whole);
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace entrain::ops {

HWY_EXPORT(add_signed);
HWY_EXPORT(row_adagrad);

void cpu::add_signed(float scale, const float* x, int64_t key, int64_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(add_signed)(scale, x, key, width, out);
}
void cpu::row_adagrad(const float* g, int64_t width, float lr, float eps, float* row, float* sum) {
  HWY_DYNAMIC_DISPATCH(row_adagrad)(g, width, lr, eps, row, sum);
}

}  // namespace entrain::ops
#endif
