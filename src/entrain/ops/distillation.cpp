// Divergence between the distributions of heads; registered as `entrain::head_distillation`.

#include "entrain/ops/distillation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>

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

Tensor log_softmax_of(const Tensor& rows, const Tensor& head, double temperature) { return matmul_nt(rows, head).div_(temperature).log_softmax(-1); }

/// Log of the mean of the teachers' probabilities, summed in logs: a probability that underflows keeps its logarithm.
Tensor log_mean_of(const std::vector<Tensor>& states, at::TensorList heads, int64_t begin, int64_t n, double temperature) {
  Tensor log_sum;
  for (size_t k = 0; k < states.size(); ++k) {
    const Tensor log_p = log_softmax_of(states[k].narrow(0, begin, n), heads[k], temperature);
    log_sum = log_sum.defined() ? at::logaddexp(log_sum, log_p) : log_p;
  }
  return states.size() == 1 ? log_sum : log_sum.sub_(std::log(static_cast<double>(states.size())));
}

Tensor as_rows(const Tensor& x) { return x.reshape({-1, x.size(-1)}); }

// With z = hidden head^T / T, the gradient of T^2 KL(p || q) by hidden head^T is T (q - p).
Outcome both_halves(const Tensor& hidden, const Tensor& head, at::TensorList teacher_hidden, at::TensorList teacher_heads, const Tensor& valid, double temperature, double normaliser,
                    bool wants_grads) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> states;
  for (const Tensor& teacher : teacher_hidden) states.push_back(as_rows(teacher));
  Outcome out{at::zeros({}, hidden.options()), {}, {}};
  if (wants_grads) {
    out.hidden_grad = at::empty_like(hidden);
    out.head_grad = at::zeros_like(head);
  }
  for (int64_t begin = 0; begin < hidden.size(0); begin += kRowsPerChunk) {
    const int64_t n = std::min(kRowsPerChunk, hidden.size(0) - begin);
    const Tensor rows = hidden.narrow(0, begin, n), counts = valid.narrow(0, begin, n).unsqueeze(1);
    const Tensor log_q = log_softmax_of(rows, head, temperature);
    const Tensor log_p = log_mean_of(states, teacher_heads, begin, n, temperature);
    const Tensor p = log_p.exp();
    out.loss += (p * (log_p - log_q)).sum(-1, /*keepdim=*/true).masked_fill(counts.logical_not(), 0).sum() * (temperature * temperature / normaliser);
    if (!wants_grads) continue;
    const Tensor logits_grad = (log_q.exp() - p).mul_(temperature / normaliser).masked_fill_(counts.logical_not(), 0);
    out.hidden_grad.narrow(0, begin, n).copy_(matmul_nn(logits_grad, head));
    out.head_grad += matmul_nn(logits_grad.t(), rows);
  }
  return out;
}

// The gradients are there already; only a scale is missing.
struct WithGradients : torch::autograd::Function<WithGradients> {
  static Tensor forward(AutogradContext* ctx, const Tensor& /*hidden*/, const Tensor& /*head*/, const Tensor& loss, const Tensor& hidden_grad, const Tensor& head_grad) {
    ctx->save_for_backward({hidden_grad, head_grad});
    return loss.clone();
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& hidden, const Tensor& head, at::TensorList teacher_hidden, at::TensorList teacher_heads, const Tensor& valid, double temperature, double normaliser) {
  TORCH_CHECK(head.dim() == 2 && head.size(1) == hidden.size(-1), "head_distillation: head ", head.sizes(), " must be (V, C) for ", hidden.sizes());
  TORCH_CHECK(!teacher_hidden.empty() && teacher_hidden.size() == teacher_heads.size(), "head_distillation: ", teacher_hidden.size(), " teachers' states and ", teacher_heads.size(), " heads");
  TORCH_CHECK(valid.scalar_type() == at::kBool && valid.numel() * hidden.size(-1) == hidden.numel(), "head_distillation: valid ", valid.sizes(), " must be a bool a position of ", hidden.sizes());
  for (size_t k = 0; k < teacher_hidden.size(); ++k) {
    TORCH_CHECK(teacher_heads[k].dim() == 2 && teacher_heads[k].size(0) == head.size(0) && teacher_heads[k].size(1) == teacher_hidden[k].size(-1) &&
                    valid.numel() * teacher_hidden[k].size(-1) == teacher_hidden[k].numel(),
                "head_distillation: teacher ", k, " has states ", teacher_hidden[k].sizes(), " and head ", teacher_heads[k].sizes(), " for ", valid.numel(), " positions and head ", head.sizes());
  }
  TORCH_CHECK(temperature > 0 && normaliser > 0, "head_distillation: temperature ", temperature, ", normaliser ", normaliser, " must be above 0");
  const bool wants = wants_grad(hidden, head);
  const Outcome out = both_halves(as_rows(hidden), head, teacher_hidden, teacher_heads, valid.reshape(-1), temperature, normaliser, wants);
  return wants ? WithGradients::apply(hidden, head, out.loss, out.hidden_grad.view(hidden.sizes()), out.head_grad) : out.loss;
}

}  // namespace

Tensor head_distillation(const Tensor& hidden, const Tensor& head, at::TensorList teacher_hidden, at::TensorList teacher_heads, const Tensor& valid, double temperature, double normaliser) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, at::TensorList, at::TensorList, const Tensor&, double, double)>("entrain::head_distillation");
  return op.call(hidden, head, teacher_hidden, teacher_heads, valid, temperature, normaliser);
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("head_distillation(Tensor hidden, Tensor head, Tensor[] teacher_hidden, Tensor[] teacher_heads, Tensor valid, float temperature, float normaliser) -> Tensor", with_autograd);
}

}  // namespace entrain::ops
