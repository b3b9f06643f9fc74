#pragma once
// The definitions of pairs.h's halves in plain ATen, as reference.h has those of ops.h.

#include <array>
#include <tuple>

#include "entrain/ops/pairs.h"

namespace entrain::ops::reference {

/// Scores that the plain forms over pairs hold at once.
constexpr int64_t kElementsAtOnce = 1 << 22;

/// What is left out of a pair_softmax.
struct LeftOut {
  std::optional<int64_t> offset;
  std::optional<Tensor> q_labels, k_labels;
};

/// Returns lse and, if with_mean, mean (undefined otherwise).
std::tuple<Tensor, Tensor> pair_softmax_forward(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset,
                                                const std::optional<Tensor>& q_labels, const std::optional<Tensor>& k_labels, bool with_mean);
/// With the gradients a of lse and b of mean, dL/ds_ij = P_ij (a_i + b_i (1 + s_ij - mean_i)). b and mean are none together.
/// Returns the gradients of q and k, each undefined where grad_mask says no; where q and k are one tensor, they may come added up as q's.
std::tuple<Tensor, Tensor> pair_softmax_backward(const Tensor& lse_grad, const std::optional<Tensor>& mean_grad, const Tensor& q,
                                                 const Tensor& k, double temperature, std::optional<int64_t> offset,
                                                 const std::optional<Tensor>& q_labels, const std::optional<Tensor>& k_labels,
                                                 const Tensor& lse, const std::optional<Tensor>& mean, std::array<bool, 2> grad_mask);

Tensor pair_hinge_forward(const Tensor& z, double threshold);
/// grad: (G).
Tensor pair_hinge_backward(const Tensor& grad, const Tensor& z, double threshold);

/// phi of the rows of x: (..., d) -> (..., F).
Tensor features(const Tensor& x, const Tensor& frequencies, double temperature, std::string_view map);
/// The gradient of x from that of phi, both of features()'s shapes.
Tensor features_backward(const Tensor& phi_grad, const Tensor& phi, const Tensor& x, const Tensor& frequencies, double temperature,
                         std::string_view map);

Tensor feature_sum_forward(const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map);
/// grad: (G, F).
Tensor feature_sum_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map);

Tensor feature_dot_forward(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, std::string_view map);
/// grad: (G, n). Returns the gradients of z and sum.
std::tuple<Tensor, Tensor> feature_dot_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, const Tensor& sum,
                                                double temperature, std::string_view map);

Tensor distance_weighted_sums_forward(const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature,
                                      std::string_view map);
/// grad: (G, n).
Tensor distance_weighted_sums_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, const Tensor& weights,
                                       double temperature, std::string_view map);

}  // namespace entrain::ops::reference
