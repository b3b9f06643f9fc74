// Rotary turns, gates of feed-forward layers, scaled sums and softmax rows.

#include "entrain/ops/cpu/kernels.h"
#include "entrain/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "entrain/ops/cpu/elementwise_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again for each instruction set.
#include "entrain/ops/cpu/simd-inl.h"

#include <limits>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {

// Calls f(in, out) on pairs of equal offsets: `load_at(j)` and `store_at(v, j)` see whole vectors, and the rest by parts.
struct WholeVectors {
  Vec get(const float* p) const { return load(p); }
  void put(Vec v, float* p) const { store(v, p); }
};
struct FirstLanes {
  int64_t n;
  Vec get(const float* p) const { return load_first(p, n); }
  void put(Vec v, float* p) const { store_first(v, n, p); }
};

/// Calls body(offset, access) for the whole vectors of n floats and once more for the rest, if any.
template <class Body>
HWY_INLINE void for_each_vector(int64_t n, const Body& body) {
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) body(j, WholeVectors{});
  if (j < n) body(j, FirstLanes{n - j});
}

void rope_position(const float* x, int64_t head_stride, int64_t heads, const float* cos, const float* sin, int64_t half, float* y) {
  for (int64_t h = 0; h < heads; ++h) {
    const float* in = x + h * head_stride;
    float* out = y + h * 2 * half;
    for_each_vector(half, [&](int64_t j, auto access) HWY_ATTR {
      const Vec first = access.get(in + j), second = access.get(in + half + j);
      const Vec c = access.get(cos + j), s = access.get(sin + j);
      access.put(hn::NegMulAdd(second, s, hn::Mul(first, c)), out + j);
      access.put(hn::MulAdd(first, s, hn::Mul(second, c)), out + half + j);
    });
  }
}

// x * sigmoid(z(x)) covers SiLU, z = x, and GELU with tanh, z = 2 sqrt(2 / pi) (x + 0.044715 x^3), as (1 + tanh u) / 2 = sigmoid(2 u).
struct Silu {
  static Vec z(Vec x) { return x; }
  static Vec z_slope(Vec) { return set(1.0f); }
};
struct GeluTanh {
  static constexpr float kScale = 1.5957691216f;
  static Vec z(Vec x) { return hn::Mul(hn::Mul(x, set(kScale)), hn::MulAdd(hn::Mul(x, x), set(0.044715f), set(1.0f))); }
  static Vec z_slope(Vec x) { return hn::MulAdd(hn::Mul(x, x), set(3 * 0.044715f * kScale), set(kScale)); }
};

/// The value and slope of an activation at x.
struct Point {
  Vec value, slope;
};
template <class Smooth>
struct Sigmoidal {
  static Vec value(Vec x) { return hn::Mul(x, sigmoid(Smooth::z(x))); }
  static Point point(Vec x) {
    const Vec s = sigmoid(Smooth::z(x));
    const Vec value = hn::Mul(x, s);
    return {value, hn::MulAdd(hn::Mul(value, hn::Sub(set(1.0f), s)), Smooth::z_slope(x), s)};
  }
};
struct Relu2 {
  static Vec value(Vec x) {
    const Vec positive = hn::Max(hn::Zero(kFloats), x);  // in this order a NaN stays
    return hn::Mul(positive, positive);
  }
  static Point point(Vec x) {
    const Vec positive = hn::Max(hn::Zero(kFloats), x);
    return {hn::Mul(positive, positive), hn::Add(positive, positive)};
  }
};

template <class Act>
void gate_forward_rows(const float* pre, int64_t width, int64_t begin, int64_t end, float* out) {
  for (int64_t i = begin; i < end; ++i) {
    const float *gate = pre + i * 2 * width, *up = gate + width;
    float* y = out + i * width;
    for_each_vector(width, [&](int64_t j, auto access) HWY_ATTR {
      access.put(hn::Mul(Act::value(access.get(gate + j)), access.get(up + j)), y + j);
    });
  }
}

template <class Act>
void gate_backward_rows(const float* grad, const float* pre, int64_t width, int64_t begin, int64_t end, float* pre_grad, float* active) {
  for (int64_t i = begin; i < end; ++i) {
    const float *gate = pre + i * 2 * width, *up = gate + width, *g = grad + i * width;
    float *gate_grad = pre_grad + i * 2 * width, *up_grad = gate_grad + width, *y = active + i * width;
    for_each_vector(width, [&](int64_t j, auto access) HWY_ATTR {
      const Vec incoming = access.get(g + j), ups = access.get(up + j);
      const Point act = Act::point(access.get(gate + j));
      access.put(hn::Mul(hn::Mul(incoming, ups), act.slope), gate_grad + j);
      access.put(hn::Mul(incoming, act.value), up_grad + j);
      access.put(hn::Mul(act.value, ups), y + j);
    });
  }
}

void gate_forward(cpu::Gate gate, const float* pre, int64_t width, int64_t begin, int64_t end, float* out) {
  switch (gate) {
    case cpu::Gate::kSilu: return gate_forward_rows<Sigmoidal<Silu>>(pre, width, begin, end, out);
    case cpu::Gate::kGeluTanh: return gate_forward_rows<Sigmoidal<GeluTanh>>(pre, width, begin, end, out);
    case cpu::Gate::kRelu2: return gate_forward_rows<Relu2>(pre, width, begin, end, out);
  }
}

void gate_backward(cpu::Gate gate, const float* grad, const float* pre, int64_t width, int64_t begin, int64_t end, float* pre_grad,
                   float* active) {
  switch (gate) {
    case cpu::Gate::kSilu: return gate_backward_rows<Sigmoidal<Silu>>(grad, pre, width, begin, end, pre_grad, active);
    case cpu::Gate::kGeluTanh: return gate_backward_rows<Sigmoidal<GeluTanh>>(grad, pre, width, begin, end, pre_grad, active);
    case cpu::Gate::kRelu2: return gate_backward_rows<Relu2>(grad, pre, width, begin, end, pre_grad, active);
  }
}

void add_scaled(float scale, const float* x, int64_t n, float* out) {
  const Vec scales = set(scale);
  for_each_vector(n, [&](int64_t j, auto access) HWY_ATTR {
    access.put(hn::Add(hn::Mul(access.get(x + j), scales), access.get(out + j)), out + j);
  });
}

void scale_in_place(float scale, int64_t n, float* out) {
  const Vec scales = set(scale);
  for_each_vector(n, [&](int64_t j, auto access) HWY_ATTR { access.put(hn::Mul(access.get(out + j), scales), out + j); });
}

float row_max(const float* x, int64_t n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  Vec top[4] = {set(kLowest), set(kLowest), set(kLowest), set(kLowest)};
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    for (int64_t u = 0; u < 4; ++u) top[u] = hn::Max(top[u], load(x + j + u * kLanes));
  }
  for (; j + kLanes <= n; j += kLanes) top[0] = hn::Max(top[0], load(x + j));
  if (j < n) top[1] = hn::Max(top[1], load_first(x + j, n - j, kLowest));
  return max_lanes(hn::Max(hn::Max(top[0], top[1]), hn::Max(top[2], top[3])));
}

/// Sum of e^(x - max) in four running sums; `keep(e, j, access)` may store each e.
template <class Keep>
HWY_INLINE float sum_exp(const float* x, int64_t n, float max, const Keep& keep) {
  const Vec maxima = set(max);
  Vec sums[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    for (int64_t u = 0; u < 4; ++u) {
      const int64_t at = j + u * kLanes;
      const Vec e = exp_nonpositive(hn::Sub(load(x + at), maxima));
      keep(e, at, WholeVectors{});
      sums[u] = hn::Add(sums[u], e);
    }
  }
  for (; j + kLanes <= n; j += kLanes) {
    const Vec e = exp_nonpositive(hn::Sub(load(x + j), maxima));
    keep(e, j, WholeVectors{});
    sums[0] = hn::Add(sums[0], e);
  }
  if (j < n) {
    const Vec e = exp_nonpositive(hn::Sub(load_first(x + j, n - j, -std::numeric_limits<float>::infinity()), maxima));
    keep(e, j, FirstLanes{n - j});
    sums[1] = hn::Add(sums[1], e);
  }
  return sum_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

cpu::RowSum row_sum(const float* x, int64_t n) {
  const float max = row_max(x, n);
  return {max, sum_exp(x, n, max, [](Vec, int64_t, auto) {})};
}

cpu::RowSum row_softmax(float* x, int64_t n, float scale) {
  const float max = row_max(x, n);
  const float sum = sum_exp(x, n, max, [&](Vec e, int64_t j, auto access) HWY_ATTR { access.put(e, x + j); });
  scale_in_place(scale / sum, n, x);
  return {max, sum};
}

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace entrain::ops {

HWY_EXPORT(rope_position);
HWY_EXPORT(gate_forward);
HWY_EXPORT(gate_backward);
HWY_EXPORT(add_scaled);
HWY_EXPORT(scale_in_place);
HWY_EXPORT(row_sum);
HWY_EXPORT(row_softmax);

void cpu::rope_position(const float* x, int64_t head_stride, int64_t heads, const float* cos, const float* sin, int64_t half, float* y) {
  HWY_DYNAMIC_DISPATCH(rope_position)(x, head_stride, heads, cos, sin, half, y);
}
void cpu::gate_forward(Gate gate, const float* pre, int64_t width, int64_t begin, int64_t end, float* out) {
  HWY_DYNAMIC_DISPATCH(gate_forward)(gate, pre, width, begin, end, out);
}
void cpu::gate_backward(Gate gate, const float* grad, const float* pre, int64_t width, int64_t begin, int64_t end, float* pre_grad,
                        float* active) {
  HWY_DYNAMIC_DISPATCH(gate_backward)(gate, grad, pre, width, begin, end, pre_grad, active);
}
void cpu::add_scaled(float scale, const float* x, int64_t n, float* out) { HWY_DYNAMIC_DISPATCH(add_scaled)(scale, x, n, out); }
void cpu::scale_in_place(float scale, int64_t n, float* out) { HWY_DYNAMIC_DISPATCH(scale_in_place)(scale, n, out); }
cpu::RowSum cpu::row_sum(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(row_sum)(x, n); }
cpu::RowSum cpu::row_softmax(float* x, int64_t n, float scale) { return HWY_DYNAMIC_DISPATCH(row_softmax)(x, n, scale); }

}  // namespace entrain::ops
#endif
