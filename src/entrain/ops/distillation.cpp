// Divergence between the distributions of two heads; registered as `entrain::head_distillation`.

#include "entrain/ops/distillation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/matmul.h"

namespace entrain::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRowsPerChunk = 1024;  // bounds the logits held at once

struct Outcome {
  Tensor loss, hidden_grad, head_grad;  ///< gradients for an upstream gradient of 1
};

// With z = hidden head^T / T, the gradient of T^2 KL(p || q) by hidden head^T is T (q - p).
Outcome both_halves(const Tensor& hidden, const Tensor& head, const Tensor& teacher_hidden, const Tensor& teacher_head, const Tensor& valid, double temperature, double normaliser,
                    bool wants_grads) {
  Outcome out{at::zeros({}, hidden.options()), {}, {}};
  if (wants_grads) {
    out.hidden_grad = at::empty_like(hidden);
    out.head_grad = at::zeros_like(head);
  }
  for (int64_t begin = 0; begin < hidden.size(0); begin += kRowsPerChunk) {
    const int64_t n = std::min(kRowsPerChunk, hidden.size(0) - begin);
    const Tensor rows = hidden.narrow(0, begin, n), counts = valid.narrow(0, begin, n).unsqueeze(1);
    const Tensor log_q = matmul_nt(rows, head).div_(temperature).log_softmax(-1);
    const Tensor log_p = matmul_nt(teacher_hidden.narrow(0, begin, n), teacher_head).div_(temperature).log_softmax(-1);
    const Tensor p = log_p.exp();
    out.loss += (p * (log_p - log_q)).sum(-1, /*keepdim=*/true).masked_fill(counts.logical_not(), 0).sum() * (temperature * temperature / normaliser);
    if (!wants_grads) continue;
    const Tensor logits_grad = (log_q.exp() - p).mul_(temperature / normaliser).masked_fill_(counts.logical_not(), 0);
    out.hidden_grad.narrow(0, begin, n).copy_(matmul_nn(logits_grad, head));
    out.head_grad += matmul_nn(logits_grad.t(), rows);
  }
  return out;
}

struct HeadDistillation : torch::autograd::Function<HeadDistillation> {
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& head, const Tensor& teacher_hidden, const Tensor& teacher_head, const Tensor& valid,
                        double temperature, double normaliser) {
    const Outcome out = both_halves(hidden.reshape({-1, hidden.size(-1)}), head, teacher_hidden.reshape({-1, teacher_hidden.size(-1)}), teacher_head, valid.reshape(-1), temperature,
                                    normaliser, true);
    ctx->save_for_backward({out.hidden_grad.view(hidden.sizes()), out.head_grad});
    return out.loss;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], {}, {}, {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& hidden, const Tensor& head, const Tensor& teacher_hidden, const Tensor& teacher_head, const Tensor& valid, double temperature, double normaliser) {
  TORCH_CHECK(head.dim() == 2 && teacher_head.dim() == 2 && head.size(0) == teacher_head.size(0) && head.size(1) == hidden.size(-1) && teacher_head.size(1) == teacher_hidden.size(-1),
              "head_distillation: heads ", head.sizes(), " and ", teacher_head.sizes(), " must be (V, C) and (V, C') for ", hidden.sizes(), " and ", teacher_hidden.sizes());
  TORCH_CHECK(valid.scalar_type() == at::kBool && valid.numel() * hidden.size(-1) == hidden.numel() && valid.numel() * teacher_hidden.size(-1) == teacher_hidden.numel(),
              "head_distillation: valid ", valid.sizes(), " must be a bool a position of ", hidden.sizes(), " and ", teacher_hidden.sizes());
  TORCH_CHECK(temperature > 0 && normaliser > 0, "head_distillation: temperature ", temperature, ", normaliser ", normaliser, " must be above 0");
  const Tensor fixed = teacher_hidden.detach(), fixed_head = teacher_head.detach();
  if (wants_grad(hidden, head)) return HeadDistillation::apply(hidden, head, fixed, fixed_head, valid, temperature, normaliser);
  return both_halves(hidden.reshape({-1, hidden.size(-1)}), head, fixed.reshape({-1, fixed.size(-1)}), fixed_head, valid.reshape(-1), temperature, normaliser, false).loss;
}

}  // namespace

Tensor head_distillation(const Tensor& hidden, const Tensor& head, const Tensor& teacher_hidden, const Tensor& teacher_head, const Tensor& valid, double temperature, double normaliser) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double)>("entrain::head_distillation");
  return op.call(hidden, head, teacher_hidden, teacher_head, valid, temperature, normaliser);
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("head_distillation(Tensor hidden, Tensor head, Tensor teacher_hidden, Tensor teacher_head, Tensor valid, float temperature, float normaliser) -> Tensor", with_autograd);
}

}  // namespace entrain::ops
