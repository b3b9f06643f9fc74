// Language-model head and cross-entropy in one: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/reference.h"

namespace entrain::ops {
namespace reference {
namespace {

constexpr int64_t kRowsPerChunk = 4096;  // bounds the logits held at once, and keeps a GPU's matrix products large

// Each target's share of its position's loss, (N, S): rows add up to 1, or to 0 where nothing is to be predicted.
Tensor target_shares(const Tensor& targets, const std::optional<Tensor>& weights, at::ScalarType dtype) {
  Tensor share = (targets != kIgnore).to(dtype);
  if (weights) share = share * weights->to(dtype);
  return share / share.sum(-1, /*keepdim=*/true).clamp_min(std::numeric_limits<float>::min());
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> head_cross_entropy_forward(const Tensor& hidden, const Tensor& head, const Tensor& targets,
                                                              const std::optional<Tensor>& weights, double normaliser,
                                                              std::array<bool, 2> grad_mask) {
  const at::ScalarType dtype = widen(hidden).scalar_type();
  const Tensor count = normaliser > 0 ? at::scalar_tensor(normaliser, hidden.options().dtype(dtype))
                                      : (targets != kIgnore).any(-1).sum().clamp_min(1).to(dtype);
  Tensor loss = at::zeros({}, hidden.options().dtype(dtype));
  Tensor head_grad = grad_mask[1] ? at::zeros_like(head, at::TensorOptions().dtype(dtype)) : Tensor();
  std::vector<Tensor> hidden_grads;
  for (int64_t begin = 0; begin < hidden.size(0); begin += kRowsPerChunk) {
    const int64_t n_rows = std::min(kRowsPerChunk, hidden.size(0) - begin);
    const Tensor rows = hidden.narrow(0, begin, n_rows);
    const Tensor ids = targets.narrow(0, begin, n_rows);
    const Tensor share = target_shares(ids, weights, dtype);
    const Tensor ids_or_first = ids.masked_fill(ids == kIgnore, 0);
    const Tensor log_probs = widen(at::mm(rows, head.t())).log_softmax(-1);
    loss = loss - log_probs.gather(1, ids_or_first).mul(share).masked_fill(share == 0, 0).sum() / count;
    if (!grad_mask[0] && !grad_mask[1]) continue;
    const Tensor nothing_here = share.sum(-1, /*keepdim=*/true) == 0;
    const Tensor dlogits =
        (log_probs.exp().masked_fill(nothing_here, 0).scatter_add(1, ids_or_first, share.neg()) / count).to(head.scalar_type());
    if (grad_mask[0]) hidden_grads.push_back(at::mm(dlogits, head));
    if (grad_mask[1]) head_grad += at::mm(dlogits.t(), rows);
  }
  Tensor hidden_grad;
  if (grad_mask[0]) hidden_grad = hidden_grads.empty() ? at::zeros_like(hidden) : at::cat(hidden_grads);
  return {loss, hidden_grad, grad_mask[1] ? head_grad.to(head.scalar_type()) : head_grad};
}

Tensor head_nats(const Tensor& hidden, const Tensor& head, const Tensor& targets) {
  std::vector<Tensor> nats = {at::empty({0}, hidden.options().dtype(at::kFloat))};
  for (int64_t begin = 0; begin < hidden.size(0); begin += kRowsPerChunk) {
    const int64_t n_rows = std::min(kRowsPerChunk, hidden.size(0) - begin);
    const Tensor ids = targets.narrow(0, begin, n_rows);
    const Tensor ignored = ids == kIgnore;
    const Tensor log_probs = widen(at::mm(hidden.narrow(0, begin, n_rows), head.t())).log_softmax(-1);
    const Tensor picked = log_probs.gather(1, ids.masked_fill(ignored, 0).unsqueeze(1)).squeeze(1);
    nats.push_back(picked.neg().masked_fill(ignored, 0).to(at::kFloat));
  }
  return at::cat(nats);
}

}  // namespace reference

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::tuple<Tensor, Tensor, Tensor> forward_op(const Tensor& hidden, const Tensor& head, const Tensor& targets,
                                              const std::optional<Tensor>& weights, double normaliser, std::array<bool, 2> grad_mask) {
  static const auto op = find_op<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&,
                                                                    const std::optional<Tensor>&, double, std::array<bool, 2>)>(
      "entrain::head_cross_entropy_forward");
  return op.call(hidden, head, targets, weights, normaliser, grad_mask);
}

// The forward pass leaves the gradients for an upstream gradient of 1; a training step has just that, unless it scales its loss.
struct HeadCrossEntropy : torch::autograd::Function<HeadCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& head, const Tensor& targets,
                        const std::optional<Tensor>& weights, double normaliser) {
    auto [loss, hidden_grad, head_grad] =
        forward_op(hidden.reshape({-1, hidden.size(-1)}), head, targets.reshape({-1, targets.size(-1)}), weights, normaliser,
                   {hidden.requires_grad(), head.requires_grad()});
    ctx->save_for_backward({hidden_grad.defined() ? hidden_grad.view(hidden.sizes()) : hidden_grad, head_grad});
    return loss;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor& grad = grads[0];
    const bool is_one = grad.is_cpu() && grad.item().toDouble() == 1.0;
    const auto scaled = [&](const Tensor& x) { return !x.defined() || is_one ? x : x * grad.to(x.scalar_type()); };
    return {scaled(saved[0]), scaled(saved[1]), {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& hidden, const Tensor& head, const Tensor& targets, const std::optional<Tensor>& weights,
                     double normaliser) {
  TORCH_CHECK(hidden.dim() >= 2 && head.dim() == 2 && head.size(1) == hidden.size(-1) && head.size(0) > 0, "head_cross_entropy: head ",
              head.sizes(), " must be (V, C) for hidden ", hidden.sizes());
  TORCH_CHECK(targets.dim() == hidden.dim() && targets.size(-1) >= 1 && targets.scalar_type() == at::kLong &&
                  targets.sizes().slice(0, targets.dim() - 1) == hidden.sizes().slice(0, hidden.dim() - 1),
              "head_cross_entropy: targets ", targets.sizes(), " ", targets.scalar_type(), " must be int64, hidden ", hidden.sizes(),
              " with S in place of C");
  TORCH_CHECK(!weights || (weights->dim() == 1 && weights->size(0) == targets.size(-1)),
              "head_cross_entropy: weights must be (S), one for each of ", targets.size(-1), " targets");
  if (wants_grad(hidden, head)) return HeadCrossEntropy::apply(hidden, head, targets, weights, normaliser);
  return std::get<0>(forward_op(hidden.reshape({-1, hidden.size(-1)}), head, targets.reshape({-1, targets.size(-1)}), weights,
                                normaliser, {false, false}));
}

Tensor nats_of_matrix(const Tensor& hidden, const Tensor& head, const Tensor& targets) {
  TORCH_CHECK(hidden.dim() >= 1 && head.dim() == 2 && head.size(1) == hidden.size(-1) && head.size(0) > 0, "head_nats: head ",
              head.sizes(), " must be (V, C) for hidden ", hidden.sizes());
  TORCH_CHECK(targets.scalar_type() == at::kLong && targets.numel() * head.size(1) == hidden.numel(),
              "head_nats: targets must be int64, one per position, are ", targets.sizes(), " for hidden ", hidden.sizes());
  const c10::NoGradGuard no_grad;
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, const Tensor&)>("entrain::head_nats_forward");
  return op.call(hidden.reshape({-1, hidden.size(-1)}), head, targets.reshape({-1}));
}

}  // namespace

Tensor head_cross_entropy(const Tensor& hidden, const Tensor& head, const Tensor& targets, const Tensor& weights, double normaliser) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, double)>(
      "entrain::head_cross_entropy");
  return op.call(hidden, head, targets, some_if_defined(weights), normaliser);
}

Tensor head_nats(const Tensor& hidden, const Tensor& head, const Tensor& targets) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, const Tensor&)>("entrain::head_nats");
  return op.call(hidden, head, targets);
}

int64_t count_positions(const Tensor& targets) { return (targets != kIgnore).any(-1).sum().item<int64_t>(); }

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("head_cross_entropy(Tensor hidden, Tensor head, Tensor targets, Tensor? weights=None, float normaliser=0.0) -> Tensor",
        with_autograd);
  m.def("head_cross_entropy_forward(Tensor hidden, Tensor head, Tensor targets, Tensor? weights, float normaliser, bool[2] grad_mask)"
        " -> (Tensor loss, Tensor hidden_grad, Tensor head_grad)");
  m.def("head_nats(Tensor hidden, Tensor head, Tensor targets) -> Tensor", nats_of_matrix);
  m.def("head_nats_forward(Tensor hidden, Tensor head, Tensor targets) -> Tensor");
  m.def("count_positions(Tensor targets) -> int", count_positions);
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("head_cross_entropy_forward", reference::head_cross_entropy_forward);
  m.impl("head_nats_forward", reference::head_nats);
}

}  // namespace entrain::ops
