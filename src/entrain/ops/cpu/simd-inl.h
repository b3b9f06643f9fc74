// Vector functions the kernels share. Included once per instruction set.

#if defined(ENTRAIN_OPS_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ENTRAIN_OPS_CPU_SIMD_INL_H
#undef ENTRAIN_OPS_CPU_SIMD_INL_H
#else
#define ENTRAIN_OPS_CPU_SIMD_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vec = hn::Vec<Floats>;
constexpr Floats kFloats;
constexpr int64_t kLanes = HWY_LANES(float);

HWY_INLINE Vec set(float x) { return hn::Set(kFloats, x); }
HWY_INLINE Vec load(const float* p) { return hn::LoadU(kFloats, p); }
HWY_INLINE void store(Vec v, float* p) { hn::StoreU(v, kFloats, p); }

/// Loads the first n < kLanes floats, the rest being `fill`, without touching memory behind them.
HWY_INLINE Vec load_first(const float* p, int64_t n, float fill = 0) {
  HWY_ALIGN float buffer[kLanes];
  hn::Store(set(fill), kFloats, buffer);
  std::memcpy(buffer, p, static_cast<size_t>(n) * sizeof(float));
  return hn::Load(kFloats, buffer);
}

/// Stores the first n < kLanes floats only.
HWY_INLINE void store_first(Vec v, int64_t n, float* p) {
  HWY_ALIGN float buffer[kLanes];
  hn::Store(v, kFloats, buffer);
  std::memcpy(p, buffer, static_cast<size_t>(n) * sizeof(float));
}

HWY_INLINE float sum_lanes(Vec v) { return hn::GetLane(hn::SumOfLanes(kFloats, v)); }
HWY_INLINE float max_lanes(Vec v) { return hn::GetLane(hn::MaxOfLanes(kFloats, v)); }

/// e^x for x <= 0 (and NaN, which stays): within 1.5 ulp, and 0 below -87.3, where the result would leave the normal numbers.
/// x = n ln 2 + r with |r| <= ln(2) / 2; e^r = 1 + r + r^2 P(r), P interpolated at Chebyshev nodes (error 1e-8 of e^r).
HWY_INLINE Vec exp_nonpositive(Vec x) {
  const Vec shifter = set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
  const Vec shifted = hn::MulAdd(x, set(1.44269504f), shifter);
  const Vec n = hn::Sub(shifted, shifter);
  const Vec r = hn::NegMulAdd(n, set(3.1946184945e-5f), hn::NegMulAdd(n, set(0.693115234375f), x));  // ln 2 in two parts
  Vec p = set(0.00139263256f);
  p = hn::MulAdd(p, r, set(0.00836329275f));
  p = hn::MulAdd(p, r, set(0.0416665538f));
  p = hn::MulAdd(p, r, set(0.166665763f));
  p = hn::MulAdd(p, r, set(0.5f));
  p = hn::MulAdd(hn::Mul(r, r), p, hn::Add(r, set(1.0f)));
  const hn::RebindToSigned<Floats> ints;
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(ints, shifted));
  const Vec power = hn::BitCast(kFloats, hn::Add(exponent, hn::Set(ints, 0x3F800000)));
  return hn::IfThenZeroElse(hn::Lt(x, set(-87.3f)), hn::Mul(p, power));
}

/// 1 / (1 + e^-x), without overflow at either end.
HWY_INLINE Vec sigmoid(Vec x) {
  const Vec e = exp_nonpositive(hn::Neg(hn::Abs(x)));
  const Vec one = set(1.0f);
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(kFloats)), e, one), hn::Add(one, e));
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
