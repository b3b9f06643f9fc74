// CPU form of rms_norm.

#include <torch/library.h>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/reference.h"

namespace entrain::ops::cpu {
namespace {

std::tuple<Tensor, Tensor> forward(const Tensor& x, const Tensor& weight, double eps) {
  if (!all_float(x, weight)) return reference::rms_norm_forward(x, weight, eps);
  Rows rows{};
  const Tensor kept = two_strides(x, rows), dense_weight = weight.contiguous();
  const int64_t width = x.size(-1);
  Tensor y = at::empty(x.sizes(), x.options());
  Tensor rstd = at::empty(x.sizes().slice(0, x.dim() - 1), x.options());
  float *out = y.mutable_data_ptr<float>(), *scales = rstd.mutable_data_ptr<float>();
  const float* w = dense_weight.const_data_ptr<float>();
  at::parallel_for(0, rstd.numel(), row_grain(width), [&](int64_t begin, int64_t end) {
    rms_norm_forward(rows, w, static_cast<float>(eps), width, begin, end, out, scales);
  });
  return {y, rstd};
}

std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& rstd) {
  if (!all_float(grad, x, weight, rstd)) return reference::rms_norm_backward(grad, x, weight, rstd);
  Rows x_rows{}, grad_rows{};
  const Tensor kept_x = two_strides(x, x_rows), kept_grad = two_strides(grad, grad_rows);
  const Tensor dense_weight = weight.contiguous(), dense_rstd = rstd.contiguous();
  const int64_t width = x.size(-1), n_rows = rstd.numel();
  // One partial sum of the weight's gradient for each of a fixed number of parts, added up in order: the same bits every run.
  const int64_t n_parts = std::clamp<int64_t>(n_rows / row_grain(width), 1, at::get_num_threads());
  Tensor dx = at::empty(x.sizes(), x.options());
  Tensor partial = at::zeros({n_parts, width}, x.options());
  const float *w = dense_weight.const_data_ptr<float>(), *scales = dense_rstd.const_data_ptr<float>();
  float *out = dx.mutable_data_ptr<float>(), *sums = partial.mutable_data_ptr<float>();
  at::parallel_for(0, n_parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      rms_norm_backward(grad_rows, x_rows, w, scales, width, part * n_rows / n_parts, (part + 1) * n_rows / n_parts, out,
                        sums + part * width);
    }
  });
  for (int64_t part = 1; part < n_parts; ++part) add_scaled(1, sums + part * width, width, sums);
  return {dx, n_parts == 1 ? partial.view({width}) : partial[0].clone()};
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("rms_norm_forward", forward);
  m.impl("rms_norm_backward", backward);
}

}  // namespace entrain::ops::cpu
