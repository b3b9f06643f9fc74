// CPU form of rope.

#include <torch/library.h>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/reference.h"

namespace entrain::ops::cpu {
namespace {

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset) {
  if (!all_float(x, cos, sin)) return reference::rope_rotate(x, cos, sin, offset);
  const Tensor kept = with_dense_rows(x), dense_cos = cos.contiguous(), dense_sin = sin.contiguous();
  const int64_t n_positions = x.size(1), heads = x.size(2), half = x.size(3) / 2;
  Tensor y = at::empty(x.sizes(), x.options());
  const float *in = kept.const_data_ptr<float>(), *c = dense_cos.const_data_ptr<float>(), *s = dense_sin.const_data_ptr<float>();
  float* out = y.mutable_data_ptr<float>();
  at::parallel_for(0, x.size(0) * n_positions, row_grain(heads * half), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / n_positions, t = i % n_positions, angle = (offset + t) * half;
      rope_position(in + b * kept.stride(0) + t * kept.stride(1), kept.stride(2), heads, c + angle, s + angle, half,
                    out + i * heads * 2 * half);
    }
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) { m.impl("rope_rotate", rotate); }

}  // namespace entrain::ops::cpu
