// Causal attention with grouped keys and values: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/reference.h"

namespace entrain::ops {
namespace reference {
namespace {

// (B, T, H, D) -> (B, Hkv, H / Hkv, T, D); keys and values have H == Hkv and so broadcast over their group.
Tensor by_group(const Tensor& x, int64_t kv_heads) {
  return widen(x).unflatten(2, {kv_heads, x.size(2) / kv_heads}).permute({0, 2, 3, 1, 4});
}

Tensor from_group(const Tensor& x, const Tensor& like) {
  return x.permute({0, 3, 1, 2, 4}).flatten(2, 3).to(like.scalar_type()).contiguous();
}

// (B, Hkv, H / Hkv, Tq, Tk), -inf where a query may not look.
Tensor masked_scores(const Tensor& q, const Tensor& k, const std::optional<Tensor>& segments) {
  const int64_t n_queries = q.size(1), n_keys = k.size(1), kv_heads = k.size(2);
  const Tensor keys = at::arange(n_keys, q.options().dtype(at::kLong));
  const Tensor last_seen = at::arange(n_keys - n_queries, n_keys, q.options().dtype(at::kLong));
  Tensor hidden = keys.unsqueeze(0) > last_seen.unsqueeze(1);  // (Tq, Tk)
  if (segments) {
    const Tensor own = segments->narrow(1, n_keys - n_queries, n_queries);
    hidden = hidden.logical_or(own.unsqueeze(2) != segments->unsqueeze(1)).unsqueeze(1).unsqueeze(1);
  }
  const Tensor scores = at::matmul(by_group(q, kv_heads), by_group(k, kv_heads).transpose(-1, -2));
  return (scores / std::sqrt(static_cast<double>(q.size(3)))).masked_fill(hidden, -std::numeric_limits<double>::infinity());
}

}  // namespace

std::tuple<Tensor, Tensor> causal_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                    const std::optional<Tensor>& segments) {
  const Tensor scores = masked_scores(q, k, segments);
  const Tensor lse = scores.logsumexp(-1);
  const Tensor out = at::matmul(scores.softmax(-1), by_group(v, k.size(2)));
  return {from_group(out, q), lse.flatten(1, 2)};
}

std::tuple<Tensor, Tensor, Tensor> causal_attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                                                             const Tensor& out, const Tensor& lse,
                                                             const std::optional<Tensor>& segments) {
  const int64_t kv_heads = k.size(2);
  const Tensor dout = by_group(grad, kv_heads);
  const Tensor probs = (masked_scores(q, k, segments) - lse.unflatten(1, {kv_heads, -1}).unsqueeze(-1)).exp();
  const Tensor dv = at::matmul(probs.transpose(-1, -2), dout).sum(2, /*keepdim=*/true);
  const Tensor dprobs = at::matmul(dout, by_group(v, kv_heads).transpose(-1, -2));
  const Tensor mean = (dout * by_group(out, kv_heads)).sum(-1, /*keepdim=*/true);
  const Tensor dscores = probs * (dprobs - mean) / std::sqrt(static_cast<double>(q.size(3)));
  const Tensor dq = at::matmul(dscores, by_group(k, kv_heads));
  const Tensor dk = at::matmul(dscores.transpose(-1, -2), by_group(q, kv_heads)).sum(2, /*keepdim=*/true);
  return {from_group(dq, q), from_group(dk, k), from_group(dv, v)};
}

}  // namespace reference

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::tuple<Tensor, Tensor> forward_op(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& segments) {
  static const auto op =
      find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&)>(
          "entrain::causal_attention_forward");
  return op.call(q, k, v, segments);
}

std::tuple<Tensor, Tensor, Tensor> backward_op(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                                               const Tensor& out, const Tensor& lse, const std::optional<Tensor>& segments) {
  static const auto op =
      find_op<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                                 const Tensor&, const std::optional<Tensor>&)>("entrain::causal_attention_backward");
  return op.call(grad, q, k, v, out, lse, segments);
}

struct CausalAttention : torch::autograd::Function<CausalAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        const std::optional<Tensor>& segments) {
    auto [out, lse] = forward_op(q, k, v, segments);
    ctx->save_for_backward({q, k, v, out, lse, segments.value_or(Tensor())});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    auto [dq, dk, dv] = backward_op(grads[0], saved[0], saved[1], saved[2], saved[3], saved[4], some_if_defined(saved[5]));
    return {dq, dk, dv, {}};
  }
};

Tensor with_autograd(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& segments) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes() && k.size(0) == q.size(0) && k.size(3) == q.size(3),
              "causal_attention: q ", q.sizes(), " must be (B, Tq, H, D) and k ", k.sizes(), " and v ", v.sizes(), " (B, Tk, Hkv, D)");
  TORCH_CHECK(k.size(1) >= q.size(1), "causal_attention: ", q.size(1), " queries but only ", k.size(1), " keys");
  TORCH_CHECK(k.size(2) > 0 && q.size(2) % k.size(2) == 0, "causal_attention: ", q.size(2), " heads are no multiple of ", k.size(2));
  TORCH_CHECK(!segments || (segments->scalar_type() == at::kInt && segments->sizes() == k.sizes().slice(0, 2)),
              "causal_attention: segments must be (B, Tk) int32");
  return wants_grad(q, k, v) ? CausalAttention::apply(q, k, v, segments) : std::get<0>(forward_op(q, k, v, segments));
}

}  // namespace

Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& segments) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&)>("entrain::causal_attention");
  return op.call(q, k, v, some_if_defined(segments));
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("causal_attention(Tensor q, Tensor k, Tensor v, Tensor? segments=None) -> Tensor", with_autograd);
  m.def("causal_attention_forward(Tensor q, Tensor k, Tensor v, Tensor? segments) -> (Tensor out, Tensor lse)");
  m.def("causal_attention_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor? segments)"
        " -> (Tensor q_grad, Tensor k_grad, Tensor v_grad)");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("causal_attention_forward", reference::causal_attention_forward);
  m.impl("causal_attention_backward", reference::causal_attention_backward);
}

}  // namespace entrain::ops
