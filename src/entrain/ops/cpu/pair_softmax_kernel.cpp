// Softmax statistics over all pairs, and their gradient.
//
// Keys are taken in blocks that stay in cache; a block of rows meets each in turn, so the softmax keeps a running maximum. The backward
// pass forms the scores again and needs no transposed product: the gradient of a key is that of a query with the two exchanged, where
// the softmax's statistics belong to the column.

#include "entrain/ops/cpu/kernels.h"
#include "entrain/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "entrain/ops/cpu/pair_softmax_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again for each instruction set.
#include "entrain/ops/cpu/small_gemm-inl.h"

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {
namespace {

// A score whose exponential is 0 beside any real one, and finite, so that 0 times it is 0.
constexpr float kLeftOut = -1e30f;
constexpr int64_t kRows = 64, kBlockFloats = 1 << 15;

hwy::AlignedFreeUniquePtr<float[]> allocate(int64_t n) { return hwy::AllocateAligned<float>(static_cast<size_t>(n)); }

/// Scores of a block of rows against a block of keys.
class ScoreBlock {
 public:
  explicit ScoreBlock(const cpu::PairTask& task)
      : t(task),
        max_keys(std::min(round_up(task.n_keys, kColumnStep), std::clamp<int64_t>(kBlockFloats / task.width / kColumnStep, 1, 16) * kColumnStep)),
        stride(max_keys + kLanes),  // not a power of two: columns of scores would share cache sets
        panels(allocate(max_keys * task.width)),
        queries(allocate(kRows * task.width)),
        scores(allocate(kRows * stride)) {}

  void take_keys(int64_t key) {
    first_key = key;
    n_keys = std::min(max_keys, t.n_keys - key);
    columns = round_up(n_keys, kColumnStep);
    pack_panels(t.keys + key * t.width, t.width, n_keys, t.width, panels.get());
    // pack_panels fills up to a tile's width only, which may be less than a column step.
    const int64_t packed = round_up(n_keys, kTileWidth);
    std::fill(panels.get() + packed * t.width, panels.get() + columns * t.width, 0.0f);
  }

  void take_rows(int64_t row, int64_t n) {
    first_row = row;
    n_rows = n;
    const int64_t padded = round_up(n, kRowStep);
    pack_rows(t.queries + row * t.width, t.width, n, t.width, t.scale, queries.get(), t.width, padded);
    for (int64_t key = 0; key < columns; key += kTileWidth) {
      for (int64_t i = 0; i < padded; i += kTileRows) {
        tile<kTileVecs, false>({queries.get() + i * t.width, t.width, 1}, panels.get() + key * t.width, kTileWidth, t.width,
                               scores.get() + i * stride + key, stride);
      }
    }
    for (int64_t i = 0; i < n; ++i) leave_out(i);
  }

  float* row(int64_t i) { return scores.get() + i * stride; }

  const cpu::PairTask& t;
  const int64_t max_keys, stride;
  int64_t first_key = 0, n_keys = 0, columns = 0, first_row = 0, n_rows = 0;

 private:
  void leave_out(int64_t i) {
    float* s = row(i);
    if (t.query_labels != nullptr) {
      const int64_t own = t.query_labels[first_row + i], *labels = t.key_labels + first_key;
      for (int64_t j = 0; j < n_keys; ++j) s[j] = labels[j] == own ? kLeftOut : s[j];
    }
    const int64_t on_diagonal = first_row + i + t.offset - first_key;
    if (t.has_offset && on_diagonal >= 0 && on_diagonal < n_keys) s[on_diagonal] = kLeftOut;
    std::fill(s + n_keys, s + columns, kLeftOut);
  }

  hwy::AlignedFreeUniquePtr<float[]> panels, queries, scores;
};

/// What a row's keys so far amount to.
struct Running {
  float max = kLeftOut, sum = 0, above = 0;  ///< sum of e^(s - max), and of the same times (s - max)
};

template <bool kWithMean>
void add_scores(const float* s, int64_t columns, Running& run) {
  Vec top = set(kLeftOut);
  for (int64_t j = 0; j < columns; j += kLanes) top = hn::Max(top, load(s + j));
  const float block_max = max_lanes(top);
  if (block_max > run.max) {  // the first real score also makes nothing of the keys left out before it
    const float shift = run.max - block_max, factor = std::exp(shift);
    run.above = factor * (run.above + shift * run.sum);
    run.sum *= factor;
    run.max = block_max;
  }
  const Vec max = set(run.max);
  Vec sums = hn::Zero(kFloats), aboves = hn::Zero(kFloats);
  for (int64_t j = 0; j < columns; j += kLanes) {
    const Vec x = hn::Sub(load(s + j), max), e = exp_nonpositive(x);
    sums = hn::Add(sums, e);
    if constexpr (kWithMean) aboves = hn::MulAdd(e, x, aboves);
  }
  run.sum += sum_lanes(sums);
  if constexpr (kWithMean) run.above += sum_lanes(aboves);
}

template <bool kWithMean>
void forward_rows(const cpu::PairTask& t, int64_t begin, int64_t end, float* lse, float* mean) {
  ScoreBlock block(t);
  std::vector<Running> runs(static_cast<size_t>(end - begin));
  for (int64_t key = 0; key < t.n_keys; key += block.max_keys) {
    block.take_keys(key);
    for (int64_t row = begin; row < end; row += kRows) {
      block.take_rows(row, std::min(kRows, end - row));
      for (int64_t i = 0; i < block.n_rows; ++i) add_scores<kWithMean>(block.row(i), block.columns, runs[static_cast<size_t>(row - begin + i)]);
    }
  }
  for (int64_t i = begin; i < end; ++i) {
    const Running& run = runs[static_cast<size_t>(i - begin)];
    const bool empty = run.max == kLeftOut && !std::isnan(run.sum);
    lse[i] = empty ? -std::numeric_limits<float>::infinity() : run.max + std::log(run.sum);
    if constexpr (kWithMean) mean[i] = empty ? 0 : run.max + run.above / run.sum;
  }
}

/// The gradient of a score, P (level + slope s), by the statistics of its row, of its column or of both.
template <bool kByRow, bool kByColumn, bool kWithMean>
void score_gradients(const cpu::PairSlopes& by_row, const cpu::PairSlopes& by_column, int64_t row, int64_t key, int64_t columns,
                     int64_t n_keys, float* s) {
  const Vec lse = set(kByRow ? by_row.lse[row] : 0), level = set(kByRow ? by_row.level[row] : 0);
  const Vec slope = set(kByRow && kWithMean ? by_row.slope[row] : 0);
  const auto gradient = [](Vec x, Vec of_lse, Vec of_level, Vec of_slope) HWY_ATTR {
    const Vec p = exp_nonpositive(hn::Sub(x, of_lse));
    return hn::Mul(p, kWithMean ? hn::MulAdd(of_slope, x, of_level) : of_level);
  };
  const auto both = [&](Vec x, const auto& at) HWY_ATTR {
    Vec sum = hn::Zero(kFloats);
    if constexpr (kByRow) sum = gradient(x, lse, level, slope);
    if constexpr (kByColumn) {
      const Vec slopes = kWithMean ? at(by_column.slope) : hn::Zero(kFloats);
      sum = hn::Add(sum, gradient(x, at(by_column.lse), at(by_column.level), slopes));
    }
    return sum;
  };
  int64_t j = 0;
  for (; j + kLanes <= n_keys; j += kLanes) store(both(load(s + j), [&](const float* p) HWY_ATTR { return load(p + key + j); }), s + j);
  if (j < n_keys) {
    store(both(load(s + j), [&](const float* p) HWY_ATTR { return load_first(p + key + j, n_keys - j); }), s + j);
    j += kLanes;
  }
  for (; j < columns; j += kLanes) store(hn::Zero(kFloats), s + j);
}

template <bool kByRow, bool kByColumn, bool kWithMean>
void backward_rows(const cpu::PairTask& t, const cpu::PairSlopes& by_row, const cpu::PairSlopes& by_column, int64_t begin, int64_t end,
                   float* grad) {
  ScoreBlock block(t);
  const int64_t width = round_up(t.width, kLanes), padded = round_up(end - begin, kRowStep);
  const auto key_rows = allocate(block.max_keys * width), sums = allocate(padded * width);
  std::fill_n(sums.get(), padded * width, 0.0f);
  for (int64_t key = 0; key < t.n_keys; key += block.max_keys) {
    block.take_keys(key);
    pack_rows(t.keys + key * t.width, t.width, block.n_keys, t.width, t.scale, key_rows.get(), width, block.n_keys);
    for (int64_t row = begin; row < end; row += kRows) {
      block.take_rows(row, std::min(kRows, end - row));
      for (int64_t i = 0; i < block.n_rows; ++i) {
        score_gradients<kByRow, kByColumn, kWithMean>(by_row, by_column, row + i, key, block.columns, block.n_keys, block.row(i));
      }
      for (int64_t i = 0; i < block.n_rows; i += kTileRows) {  // rows that only fill up a tile give numbers nobody reads
        row_strip<true>({block.row(i), block.stride, 1}, key_rows.get(), width, block.n_keys, sums.get() + (row - begin + i) * width, width, width);
      }
    }
  }
  for (int64_t i = begin; i < end; ++i) std::copy_n(sums.get() + (i - begin) * width, t.width, grad + i * t.width);
}

}  // namespace

void pair_softmax_forward(const cpu::PairTask& t, int64_t begin, int64_t end, float* lse, float* mean) {
  mean != nullptr ? forward_rows<true>(t, begin, end, lse, mean) : forward_rows<false>(t, begin, end, lse, mean);
}

void pair_softmax_backward(const cpu::PairTask& t, const cpu::PairSlopes& by_row, const cpu::PairSlopes& by_column, int64_t begin,
                           int64_t end, float* grad) {
  const bool with_mean = by_row.slope != nullptr || by_column.slope != nullptr;
  const auto run = [&](auto rows, auto columns) {
    if (with_mean) return backward_rows<rows(), columns(), true>(t, by_row, by_column, begin, end, grad);
    return backward_rows<rows(), columns(), false>(t, by_row, by_column, begin, end, grad);
  };
  if (by_column.lse == nullptr) return run(std::true_type(), std::false_type());
  if (by_row.lse == nullptr) return run(std::false_type(), std::true_type());
  return run(std::true_type(), std::true_type());
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace entrain::ops {

HWY_EXPORT(pair_softmax_forward);
HWY_EXPORT(pair_softmax_backward);

void cpu::pair_softmax_forward(const PairTask& task, int64_t begin, int64_t end, float* lse, float* mean) {
  HWY_DYNAMIC_DISPATCH(pair_softmax_forward)(task, begin, end, lse, mean);
}
void cpu::pair_softmax_backward(const PairTask& task, const PairSlopes& by_row, const PairSlopes& by_column, int64_t begin, int64_t end,
                                float* grad) {
  HWY_DYNAMIC_DISPATCH(pair_softmax_backward)(task, by_row, by_column, begin, end, grad);
}

}  // namespace entrain::ops
#endif
