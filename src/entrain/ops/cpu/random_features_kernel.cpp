// Random features of rows of vectors, and what is summed from them, while they are in cache.

#include "entrain/ops/cpu/kernels.h"
#include "entrain/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "entrain/ops/cpu/random_features_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again for each instruction set.
#include "entrain/ops/cpu/small_gemm-inl.h"

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {
namespace {

constexpr int64_t kMaxRows = 64, kAngleFloats = 1 << 14;

hwy::AlignedFreeUniquePtr<float[]> allocate(int64_t n) { return hwy::AllocateAligned<float>(static_cast<size_t>(n)); }

struct CosSin {
  Vec cos, sin;
};

/// Within 1e-7 for |x| < 1e5 (2e-7 of x without fused multiply-add), in -1..1 for every finite x; NaN for the others.
/// x = q pi / 2 + r with |r| <= pi / 4; sin r = r + r^3 P(r^2) and cos r = 1 - r^2 / 2 + r^4 Q(r^2), interpolated at Chebyshev nodes.
HWY_INLINE CosSin cos_sin(Vec x) {
  const Vec shifter = set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
  const Vec shifted = hn::MulAdd(x, set(0.636619772f), shifter);
  const Vec q = hn::Sub(shifted, shifter);
  Vec r = hn::NegMulAdd(q, set(-1.7763568e-15f), hn::NegMulAdd(q, set(-4.371138829e-8f), hn::NegMulAdd(q, set(1.57079637f), x)));
  r = hn::Max(set(-0.7854f), hn::Min(set(0.7854f), r));  // in this order a NaN stays
  const Vec t = hn::Mul(r, r);
  const Vec p = hn::MulAdd(hn::MulAdd(set(-1.958789088e-4f), t, set(8.332748271e-3f)), t, set(-0.1666666466f));
  const Vec s = hn::MulAdd(hn::Mul(hn::Mul(r, t), p), set(1.0f), r);
  const Vec c4 = hn::MulAdd(hn::MulAdd(set(2.454794209e-5f), t, set(-1.388830304e-3f)), t, set(4.166666466e-2f));
  const Vec c = hn::MulAdd(hn::Mul(t, t), c4, hn::NegMulAdd(set(0.5f), t, set(1.0f)));
  const hn::RebindToSigned<Floats> ints;
  const auto quadrant = hn::BitCast(ints, shifted), one = hn::Set(ints, 1), two = hn::Set(ints, 2);
  const auto swapped = hn::RebindMask(kFloats, hn::TestBit(quadrant, one));
  const auto cos_sign = hn::ShiftLeft<30>(hn::And(hn::Add(quadrant, one), two)), sin_sign = hn::ShiftLeft<30>(hn::And(quadrant, two));
  return {hn::Xor(hn::IfThenElse(swapped, s, c), hn::BitCast(kFloats, cos_sign)),
          hn::Xor(hn::IfThenElse(swapped, c, s), hn::BitCast(kFloats, sin_sign))};
}

/// e^x, infinite from 88.3.
HWY_INLINE Vec exp_any(Vec x) {
  return hn::IfThenElse(hn::Gt(x, set(88.3f)), set(std::numeric_limits<float>::infinity()), exp_nonpositive(x));
}

/// The two maps: features of a row of angles, in vectors at j of each half, and the slope of phi.c along the angles.
struct Trigonometric {
  static constexpr int64_t kHalves = 2;
  static void features(const float* angles, float, int64_t columns, float* phi) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const CosSin both = cos_sin(load(angles + j));
      store(both.cos, phi + j);
      store(both.sin, phi + columns + j);
    }
  }
  static Vec slope(const float* phi, const float* c, int64_t columns, int64_t j) {
    return hn::NegMulAdd(load(c + j), load(phi + columns + j), hn::Mul(load(c + columns + j), load(phi + j)));
  }
};
struct Positive {
  static constexpr int64_t kHalves = 1;
  static void features(const float* angles, float half_square, int64_t columns, float* phi) {
    const Vec shift = set(half_square);
    for (int64_t j = 0; j < columns; j += kLanes) store(exp_any(hn::Sub(load(angles + j), shift)), phi + j);
  }
  static Vec slope(const float* phi, const float* c, int64_t, int64_t j) { return hn::Mul(load(c + j), load(phi + j)); }
};

float dot(const float* a, const float* b, int64_t n) {
  Vec sums[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
  for (int64_t j = 0; j < n; j += kLanes) sums[j / kLanes % 4] = hn::MulAdd(load(a + j), load(b + j), sums[j / kLanes % 4]);
  return sum_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

float square(const float* x, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

void add_scaled_row(float scale, const float* x, int64_t n, float* out) {
  const Vec scales = set(scale);
  for (int64_t j = 0; j < n; j += kLanes) store(hn::MulAdd(scales, load(x + j), load(out + j)), out + j);
}

/// Copies the halves of F numbers to where each has room for whole vectors, filled up with zeros.
void spread(const float* from, int64_t m, int64_t columns, int64_t halves, float* to) {
  for (int64_t h = 0; h < halves; ++h) {
    std::copy_n(from + h * m, m, to + h * columns);
    std::fill(to + h * columns + m, to + (h + 1) * columns, 0.0f);
  }
}

/// A block of rows at a time: angles, features, and what they add to.
template <class Map>
class FeatureBlock {
 public:
  explicit FeatureBlock(const cpu::FeatureTask& task) : t(task) {
    const int64_t m = t.n_frequencies, packed = round_up(m, kTileWidth);
    pack_panels(t.frequencies, t.width, m, t.width, panels.get());
    std::fill(panels.get() + packed * t.width, panels.get() + columns * t.width, 0.0f);
    if (t.z_grad != nullptr) pack_rows(t.frequencies, t.width, m, t.width, 1, frequency_rows.get(), width, m);
    if (t.direction != nullptr) spread(t.direction, m, columns, Map::kHalves, direction.get());
    std::fill_n(sums.get(), n_phi, 0.0f);
  }

  void take(int64_t first, int64_t n) {
    pack_rows(t.z + first * t.width, t.width, n, t.width, 1, vectors.get(), t.width, round_up(n, kRowStep));
    for (int64_t j = 0; j < columns; j += kTileWidth) {
      for (int64_t i = 0; i < n; i += kTileRows) {
        tile<kTileVecs, false>({vectors.get() + i * t.width, t.width, 1}, panels.get() + j * t.width, kTileWidth, t.width,
                               angles.get() + i * stride + j, stride);
      }
    }
    for (int64_t i = 0; i < n; ++i) reduce(first + i, vectors.get() + i * t.width, angles.get() + i * stride, dz.get() + i * width);
    if (t.z_grad == nullptr) return;
    for (int64_t i = 0; i < n; i += kTileRows) {  // rows that only fill up a tile give numbers nobody reads
      row_strip<true>({angles.get() + i * stride, stride, 1}, frequency_rows.get(), width, t.n_frequencies, dz.get() + i * width, width, width);
    }
    for (int64_t i = 0; i < n; ++i) std::copy_n(dz.get() + i * width, t.width, t.z_grad + (first + i) * t.width);
  }

  void finish() const {
    if (t.sum == nullptr) return;
    for (int64_t h = 0; h < Map::kHalves; ++h) std::copy_n(sums.get() + h * columns, t.n_frequencies, t.sum + h * t.n_frequencies);
  }

  const cpu::FeatureTask& t;
  const int64_t columns = round_up(t.n_frequencies, kColumnStep), stride = columns + kLanes, n_phi = Map::kHalves * columns;
  const int64_t width = round_up(t.width, kLanes);
  const int64_t max_rows = std::clamp<int64_t>(kAngleFloats / columns / kRowStep * kRowStep, kRowStep, kMaxRows);

 private:
  // One vector's part of the sums; its angles become the gradient by them, and dz what the gradient has besides.
  void reduce(int64_t i, const float* z, float* row, float* rest) {
    const float half_square = Map::kHalves == 1 ? 0.5f * t.inverse_temperature * square(z, t.width) : 0;
    Map::features(row, half_square, columns, phi.get());
    const float weight = t.weights != nullptr ? t.weights[i] : 1;
    if (t.sum != nullptr) add_scaled_row(weight, phi.get(), n_phi, sums.get());
    if (t.dots != nullptr) t.dots[i] = dot(phi.get(), direction.get(), n_phi);
    if (t.z_grad == nullptr) return;
    Vec total = hn::Zero(kFloats);
    for (int64_t j = 0; j < columns; j += kLanes) {
      const Vec slope = hn::Mul(set(weight), Map::slope(phi.get(), direction.get(), columns, j));
      total = hn::Add(total, slope);
      store(slope, row + j);
    }
    std::fill_n(rest, width, 0.0f);
    if constexpr (Map::kHalves == 1) {
      const float pull = -t.inverse_temperature * sum_lanes(total);
      for (int64_t d = 0; d < t.width; ++d) rest[d] = pull * z[d];
    }
  }

  using Buffer = hwy::AlignedFreeUniquePtr<float[]>;
  const Buffer panels = allocate(columns * t.width), frequency_rows = allocate(t.n_frequencies * width), angles = allocate(max_rows * stride);
  const Buffer vectors = allocate(max_rows * t.width), dz = allocate(max_rows * width);
  const Buffer phi = allocate(n_phi), sums = allocate(n_phi), direction = allocate(n_phi);
};

template <class Map>
void feature_rows_of(const cpu::FeatureTask& t, int64_t begin, int64_t end) {
  FeatureBlock<Map> block(t);
  for (int64_t first = begin; first < end; first += block.max_rows) block.take(first, std::min(block.max_rows, end - first));
  block.finish();
}

}  // namespace

void feature_rows(const cpu::FeatureTask& task, int64_t begin, int64_t end) {
  task.is_trigonometric ? feature_rows_of<Trigonometric>(task, begin, end) : feature_rows_of<Positive>(task, begin, end);
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace entrain::ops {

HWY_EXPORT(feature_rows);

void cpu::feature_rows(const FeatureTask& task, int64_t begin, int64_t end) { HWY_DYNAMIC_DISPATCH(feature_rows)(task, begin, end); }

}  // namespace entrain::ops
#endif
