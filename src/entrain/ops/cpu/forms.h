#pragma once
// What the CPU forms share: telling whether the kernels apply, and how to split rows among threads.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "entrain/ops/cpu/kernels.h"

namespace entrain::ops::cpu {

/// Whether all are float32, the kernels' type; other types take the reference form.
template <class... Tensors>
bool all_float(const Tensors&... tensors) {
  return (... && (tensors.scalar_type() == at::kFloat));
}

/// Rows of `width` floats that are worth a thread.
inline int64_t row_grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

/// x with a contiguous last dimension and other strides that two numbers describe; a copy only where it has to be.
inline at::Tensor two_strides(const at::Tensor& x, Rows& rows) {
  // Going outwards, dimensions that continue the inner run merge with it; the first that does not begins the outer run.
  const auto describe = [&rows](const at::Tensor& t) {
    if (t.size(-1) > 1 && t.stride(-1) != 1) return false;
    int64_t inner = 1, inner_stride = t.size(-1), outer = 1, outer_stride = 0;
    bool in_outer = false;
    for (int64_t dim = t.dim() - 2; dim >= 0; --dim) {
      const int64_t size = t.size(dim), stride = t.stride(dim);
      if (size == 1) continue;
      if (inner == 1) {
        inner = size, inner_stride = stride;
      } else if (!in_outer && stride == inner * inner_stride) {
        inner *= size;
      } else if (!in_outer) {
        in_outer = true, outer = size, outer_stride = stride;
      } else if (stride == outer * outer_stride) {
        outer *= size;
      } else {
        return false;
      }
    }
    rows = {t.const_data_ptr<float>(), inner, outer_stride, inner_stride};
    return true;
  };
  if (describe(x)) return x;
  at::Tensor copy = x.contiguous();
  describe(copy);
  return copy;
}

/// x, or a copy of it whose last dimension is contiguous.
inline at::Tensor with_dense_rows(const at::Tensor& x) { return x.size(-1) <= 1 || x.stride(-1) == 1 ? x : x.contiguous(); }

}  // namespace entrain::ops::cpu
