#pragma once
// The definition of each operator's two halves in plain ATen: any device, any floating dtype. They are what the dispatcher
// runs where no faster form exists, and what every faster form is tested against. Shapes are those of ops.h.

#include <array>
#include <tuple>

#include "entrain/ops/ops.h"

namespace entrain::ops::reference {

Tensor bag_embedding_forward(const Tensor& table, const Tensor& ids, int64_t bag);
/// grad: (B, T, C). Returns the dense (V, C) gradient.
Tensor bag_embedding_backward(const Tensor& grad, const Tensor& ids, int64_t vocabulary, int64_t bag);

/// Returns y and 1 / sqrt(mean(x^2) + eps), the latter in x's shape without its last dimension.
std::tuple<Tensor, Tensor> rms_norm_forward(const Tensor& x, const Tensor& weight, double eps);
/// Returns the gradients of x and weight.
std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& rstd);

/// Its own backward half, given -sin.
Tensor rope_rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset);

/// pre: (N, 2F), gates first. Returns act(gate) * up, (N, F).
Tensor gate_forward(const Tensor& pre, std::string_view activation);
/// grad: (N, F). Returns the gradient of pre and, so that it need not be kept since the forward pass, act(gate) * up again.
std::tuple<Tensor, Tensor> gate_backward(const Tensor& grad, const Tensor& pre, std::string_view activation);

/// Returns the output and each query's log-sum-exp, (B, H, Tq).
std::tuple<Tensor, Tensor> causal_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                    const std::optional<Tensor>& segments);
/// Returns the gradients of q, k and v.
std::tuple<Tensor, Tensor, Tensor> causal_attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                                                             const Tensor& out, const Tensor& lse,
                                                             const std::optional<Tensor>& segments);

/// hidden: (N, C); targets: (N, S). Returns the loss and the gradients of hidden and head, each undefined where grad_mask says no.
std::tuple<Tensor, Tensor, Tensor> head_cross_entropy_forward(const Tensor& hidden, const Tensor& head, const Tensor& targets,
                                                              const std::optional<Tensor>& weights, double normaliser,
                                                              std::array<bool, 2> grad_mask);
/// hidden: (N, C); targets: (N).
Tensor head_nats(const Tensor& hidden, const Tensor& head, const Tensor& targets);

}  // namespace entrain::ops::reference
