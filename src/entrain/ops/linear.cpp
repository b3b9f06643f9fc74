// Linear layer: autograd and registration around the matrix products of matmul.h.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/matmul.h"
#include "entrain/ops/ops.h"

namespace entrain::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor apply_linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  Tensor y = matmul_nt(x.reshape({-1, x.size(-1)}), weight);
  if (bias) y.add_(*bias);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return y.view(sizes);
}

struct Linear : torch::autograd::Function<Linear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["has_bias"] = bias.has_value();
    return apply_linear(x, weight, bias);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    const Tensor grad = grads[0].reshape({-1, weight.size(0)});
    Tensor x_grad, weight_grad, bias_grad;
    if (ctx->needs_input_grad(0)) x_grad = matmul_nn(grad, weight).view(x.sizes());
    if (ctx->needs_input_grad(1)) weight_grad = at::mm(grad.t(), x.reshape({-1, x.size(-1)}));
    if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(2)) bias_grad = grad.sum(0);
    return {x_grad, weight_grad, bias_grad};
  }
};

Tensor with_autograd(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2 && weight.size(1) == x.size(-1), "linear: weight ", weight.sizes(),
              " must be (M, C) for x ", x.sizes());
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == weight.size(0)), "linear: bias must be (", weight.size(0), ")");
  return wants_grad(x, weight, bias.value_or(Tensor())) ? Linear::apply(x, weight, bias) : apply_linear(x, weight, bias);
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&)>("entrain::linear");
  return op.call(x, weight, some_if_defined(bias));
}

TORCH_LIBRARY_FRAGMENT(entrain, m) { m.def("linear(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor", with_autograd); }

}  // namespace entrain::ops
