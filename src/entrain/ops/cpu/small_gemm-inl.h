// Matrix products on blocks that stay in cache, and the packed forms they read. Included once per instruction set.
//
// C (+)= A B, where B's rows are whole vectors (packed, zero-padded) and A's elements are broadcast one at a time, so that A may
// be read by rows or by columns. A library call costs more than such a product itself at the sizes of an attention head.

#if defined(ENTRAIN_OPS_CPU_SMALL_GEMM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ENTRAIN_OPS_CPU_SMALL_GEMM_INL_H
#undef ENTRAIN_OPS_CPU_SMALL_GEMM_INL_H
#else
#define ENTRAIN_OPS_CPU_SMALL_GEMM_INL_H
#endif

#include "entrain/ops/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {

// Sixteen running sums where there are 32 vector registers, eight where there are 16: enough to hide the latency of a
// multiply-add, with registers left for one row of B and a broadcast.
constexpr int64_t kTileRows = HWY_MAX_BYTES >= 64 ? 8 : 4;
constexpr int64_t kTileVecs = 2;
constexpr int64_t kTileWidth = kTileVecs * kLanes;
/// Ranges of columns that are tiled both ways, as columns and, transposed, as rows, are multiples of this.
constexpr int64_t kColumnStep = HWY_MAX(kTileWidth, kTileRows);
/// Blocks of rows are multiples of this on every instruction set.
constexpr int64_t kRowStep = 8;

/// A matrix whose element (i, k) is data[i * row + k * col].
struct Broadcast {
  const float* data;
  int64_t row, col;
};

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/// One tile of kTileRows by kVecs vectors: c (+)= sum over k in [0, depth) of a(., k) b[k * b_stride ..].
template <int64_t kVecs, bool kAccumulate>
HWY_INLINE void tile(const Broadcast& a, const float* HWY_RESTRICT b, int64_t b_stride, int64_t depth, float* HWY_RESTRICT c,
                     int64_t c_stride) {
  Vec sums[kTileRows][kVecs];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 16
    for (int64_t v = 0; v < kVecs; ++v) sums[i][v] = kAccumulate ? load(c + i * c_stride + v * kLanes) : hn::Zero(kFloats);
  }
  const float* HWY_RESTRICT column = a.data;
  for (int64_t k = 0; k < depth; ++k, column += a.col, b += b_stride) {
    Vec row[kVecs];
#pragma GCC unroll 16
    for (int64_t v = 0; v < kVecs; ++v) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kTileRows; ++i) {
      const Vec element = set(column[i * a.row]);
#pragma GCC unroll 16
      for (int64_t v = 0; v < kVecs; ++v) sums[i][v] = hn::MulAdd(element, row[v], sums[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 16
    for (int64_t v = 0; v < kVecs; ++v) store(sums[i][v], c + i * c_stride + v * kLanes);
  }
}

/// kTileRows rows of C, `width` (a multiple of kLanes) columns.
template <bool kAccumulate>
HWY_INLINE void row_strip(const Broadcast& a, const float* b, int64_t b_stride, int64_t depth, float* c, int64_t c_stride,
                          int64_t width) {
  int64_t j = 0;
  for (; j + kTileWidth <= width; j += kTileWidth) tile<kTileVecs, kAccumulate>(a, b + j, b_stride, depth, c + j, c_stride);
  if (j < width) tile<1, kAccumulate>(a, b + j, b_stride, depth, c + j, c_stride);
}

/// Copies rows of `width` floats, times scale, to rows of `padded` floats; fills up with zeros, to `padded_rows` rows.
HWY_INLINE void pack_rows(const float* src, int64_t stride, int64_t rows, int64_t width, float scale, float* dst, int64_t padded,
                          int64_t padded_rows) {
  const Vec scales = set(scale);
  for (int64_t i = 0; i < rows; ++i, src += stride, dst += padded) {
    int64_t j = 0;
    for (; j + kLanes <= width; j += kLanes) store(hn::Mul(load(src + j), scales), dst + j);
    for (; j < width; ++j) dst[j] = src[j] * scale;
    for (; j < padded; ++j) dst[j] = 0;
  }
  std::memset(dst, 0, static_cast<size_t>((padded_rows - rows) * padded) * sizeof(float));
}

/// Transposes `rows` rows into panels of kTileWidth of them: element (i, d) goes to panel i / kTileWidth, row d, column
/// i % kTileWidth. A tile then reads one panel from beginning to end. Rows missing in the last panel are zeros.
HWY_INLINE void pack_panels(const float* src, int64_t stride, int64_t rows, int64_t width, float* dst) {
  for (int64_t first = 0; first < rows; first += kTileWidth, dst += width * kTileWidth) {
    const int64_t n = HWY_MIN(kTileWidth, rows - first);
    const float* from = src + first * stride;
    for (int64_t d = 0; d < width; ++d) {
      float* to = dst + d * kTileWidth;
      for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride + d];
      for (int64_t i = n; i < kTileWidth; ++i) to[i] = 0;
    }
  }
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
