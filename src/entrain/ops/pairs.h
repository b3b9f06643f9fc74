#pragma once
// The operators behind losses over all pairs of token vectors: exact in tiles, or estimated from random features in time linear in
// the number of vectors. Registered, defined and differentiable as those of ops.h; none stores a matrix of pairs or of features.
// Shapes: G groups, each with its own pairs; n and m vectors of d numbers. Sums are float32 or wider whatever the inputs are.

#include <optional>
#include <string_view>

#include "entrain/base/tensor.h"

namespace entrain::ops {

/// Both (G, n). A row whose pairs are all left out has lse = -infinity, mean = 0 and gives no gradient.
struct PairSoftmax {
  Tensor lse;   ///< log sum_j e^(s_ij)
  Tensor mean;  ///< sum_j P_ij s_ij with P the softmax: lse - mean is the row's entropy in nats
};

/// Softmax statistics of s_ij = q_i.k_j / temperature over the keys of a query's group, without storing s: the denominators of InfoNCE
/// (arXiv 1807.03748, equation 4). q: (G, n, d); k: (G, m, d), may be q itself; temperature > 0. Left out are the pairs j = i + offset
/// (the diagonal for 0, none for nullopt) and, where labels are given, pairs of equal labels (false negatives): q_labels (G, n) and
/// k_labels (G, m), int64, both or neither. Differentiable in q and k.
PairSoftmax pair_softmax(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const Tensor& q_labels = {},
                         const Tensor& k_labels = {});

/// pair_softmax(...).lse for less.
Tensor pair_logsumexp(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const Tensor& q_labels = {},
                      const Tensor& k_labels = {});

/// Mean over the pairs i != j of max(0, z_i.z_j - threshold): SimCTG's contrastive loss for unit vectors and threshold 1 - rho
/// (arXiv 2202.06417, equation 2). z: (G, n, d). Returns (G); 0 where n < 2.
Tensor pair_hinge(const Tensor& z, double threshold);

/// phi(x) for frequencies W, m rows drawn from N(0, I / temperature), in orthogonal blocks for less variance (arXiv 1610.09072):
/// - trigonometric (Rahimi & Recht 2007): m^-1/2 [cos(W x), sin(W x)], F = 2m numbers. phi(x).phi(x) = 1, and E phi(x).phi(y) =
///   e^(-|x - y|^2 / (2 temperature)), which is e^((x.y - 1) / temperature) for unit vectors; variance at most (1 - k^2)^2 / (2m).
/// - positive (arXiv 2009.14794, equation 7): m^-1/2 e^(W x - |x|^2 / (2 temperature)), F = m. E phi(x).phi(y) = e^(x.y / temperature).
enum class FeatureMap { kTrigonometric, kPositive };

/// "trigonometric" or "positive", the dispatcher's names.
std::string_view feature_map_name(FeatureMap map);

/// sum_i phi(z_i). z: (G, n, d); frequencies: (m, d), gets no gradient. Returns (G, F). O(G n m d) time.
Tensor feature_sum(const Tensor& z, const Tensor& frequencies, double temperature, FeatureMap map);

/// phi(z_i).sum_g, an estimate of sum_j k(z_i, z_j) that counts j = i where the sum does.
/// z: (G, n, d); sum: (G, F) from feature_sum, or such sums added up. Returns (G, n). Differentiable in z and sum.
Tensor feature_dot(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, FeatureMap map);

/// r_i = sum_{j != i} w(|i - j|) phi(z_i).phi(z_j), one convolution over positions for each feature, by FFT (arXiv 2106.12566):
/// O(G m n (d + log n)) time. z: (G, n, d); weights: (n), w at distances 0 to n - 1, weights[0] is not used. Returns (G, n).
/// Differentiable in z. Nothing wraps around: positions outside 0..n - 1 do not exist.
Tensor distance_weighted_sums(const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature, FeatureMap map);

}  // namespace entrain::ops
