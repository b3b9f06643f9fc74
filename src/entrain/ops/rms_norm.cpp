// Root-mean-square norm: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/reference.h"

namespace entrain::ops {
namespace reference {

std::tuple<Tensor, Tensor> rms_norm_forward(const Tensor& x, const Tensor& weight, double eps) {
  const Tensor wide = widen(x);
  const Tensor rstd = (wide.square().mean(-1, /*keepdim=*/true) + eps).rsqrt();
  return {(wide * rstd * weight).to(x.scalar_type()), rstd.squeeze(-1)};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& rstd) {
  const Tensor scale = rstd.unsqueeze(-1);
  const Tensor normed = widen(x) * scale;
  const Tensor weighted = widen(grad) * weight;
  const Tensor dx = (weighted - normed * (weighted * normed).mean(-1, /*keepdim=*/true)) * scale;
  const Tensor dweight = (widen(grad) * normed).reshape({-1, x.size(-1)}).sum(0);
  return {dx.to(x.scalar_type()), dweight.to(weight.scalar_type())};
}

}  // namespace reference

namespace {

std::tuple<Tensor, Tensor> forward_op(const Tensor& x, const Tensor& weight, double eps) {
  static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, double)>("entrain::rms_norm_forward");
  return op.call(x, weight, eps);
}

std::tuple<Tensor, Tensor> backward_op(const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& rstd) {
  static const auto op =
      find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&)>("entrain::rms_norm_backward");
  return op.call(grad, x, weight, rstd);
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps) {
    auto [y, rstd] = forward_op(x, weight, eps);
    ctx->save_for_backward({x, weight, rstd});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    auto [dx, dweight] = backward_op(grads[0], saved[0], saved[1], saved[2]);
    return {dx, dweight, {}};
  }
};

Tensor with_autograd(const Tensor& x, const Tensor& weight, double eps) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1), "rms_norm: weight ", weight.sizes(),
              " does not fit x ", x.sizes());
  return wants_grad(x, weight) ? RmsNorm::apply(x, weight, eps) : std::get<0>(forward_op(x, weight, eps));
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, double)>("entrain::rms_norm");
  return op.call(x, weight, eps);
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", with_autograd);
  m.def("rms_norm_forward(Tensor x, Tensor weight, float eps) -> (Tensor y, Tensor rstd)");
  m.def("rms_norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor rstd) -> (Tensor x_grad, Tensor weight_grad)");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("rms_norm_forward", reference::rms_norm_forward);
  m.impl("rms_norm_backward", reference::rms_norm_backward);
}

}  // namespace entrain::ops
