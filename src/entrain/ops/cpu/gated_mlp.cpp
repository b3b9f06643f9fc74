// CPU form of the gate inside gated_mlp; the matrix products around it are ATen's.

#include <torch/library.h>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/reference.h"

namespace entrain::ops::cpu {
namespace {

Gate gate_of(std::string_view activation) {
  switch (activation_from_name(activation)) {
    case Activation::kSilu: return Gate::kSilu;
    case Activation::kGeluTanh: return Gate::kGeluTanh;
    case Activation::kRelu2: return Gate::kRelu2;
  }
  TORCH_CHECK(false, "no such activation");
}

Tensor forward(const Tensor& pre, std::string_view activation) {
  if (!all_float(pre)) return reference::gate_forward(pre, activation);
  const Tensor dense = pre.contiguous();
  const int64_t n_rows = pre.size(0), width = pre.size(1) / 2;
  Tensor out = at::empty({n_rows, width}, pre.options());
  const Gate gate = gate_of(activation);
  const float* in = dense.const_data_ptr<float>();
  float* y = out.mutable_data_ptr<float>();
  at::parallel_for(0, n_rows, row_grain(width), [&](int64_t begin, int64_t end) { gate_forward(gate, in, width, begin, end, y); });
  return out;
}

std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Tensor& pre, std::string_view activation) {
  if (!all_float(grad, pre)) return reference::gate_backward(grad, pre, activation);
  const Tensor dense = pre.contiguous(), dense_grad = grad.contiguous();
  const int64_t n_rows = pre.size(0), width = pre.size(1) / 2;
  Tensor pre_grad = at::empty_like(dense), active = at::empty_like(dense_grad);
  const Gate gate = gate_of(activation);
  const float *in = dense.const_data_ptr<float>(), *g = dense_grad.const_data_ptr<float>();
  float *dx = pre_grad.mutable_data_ptr<float>(), *y = active.mutable_data_ptr<float>();
  at::parallel_for(0, n_rows, row_grain(width),
                   [&](int64_t begin, int64_t end) { gate_backward(gate, g, in, width, begin, end, dx, y); });
  return {pre_grad, active};
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("gate_forward", forward);
  m.impl("gate_backward", backward);
}

}  // namespace entrain::ops::cpu
