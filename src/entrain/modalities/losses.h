#pragma once
// Losses over unit vectors. All are differentiable, sum in a fixed order and take float32 or float64.

#include <vector>

#include "entrain/base/tensor.h"

namespace entrain::modalities {

constexpr double kInitialLogitScale = 1.0 / 0.07;  ///< Radford et al., arXiv 2103.00020, section 2.5
constexpr double kMaxLogitScale = 100;             ///< likewise

/// Symmetric InfoNCE (arXiv 2103.00020, figure 3; InfoNCE: arXiv 1807.03748): with S = scale a b^T,
/// L = (mean_i -log softmax(S_i.)_i + mean_i -log softmax(S_.i)_i) / 2, in nats; between 0 and about log B where nothing is learnt.
/// a, b: (B, d), row i of both belongs together; scale: scalar tensor.
Tensor symmetric_info_nce(const Tensor& a, const Tensor& b, const Tensor& scale);
/// exp(log_scale), at most kMaxLogitScale; beyond it the gradient is 0.
Tensor logit_scale(const Tensor& log_scale);

/// Uniformity (Wang and Isola, arXiv 2005.10242, equation 2, with t = 2): log of the mean over pairs i != j of exp(-2 |z_i - z_j|^2); at most 0, which it is where
/// all are equal. z: (N, d), N >= 2.
Tensor uniformity(const Tensor& z);

/// Mean over all pairs of modalities of symmetric_info_nce. z: two or more of (B, d).
Tensor across_loss(const std::vector<Tensor>& z, const Tensor& scale);

}  // namespace entrain::modalities
