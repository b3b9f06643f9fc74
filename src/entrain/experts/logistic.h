#pragma once
// Linear probes: many logistic or linear regressions on the same states, fitted exactly.

#include "entrain/base/tensor.h"

namespace entrain::experts {

/// Weights of K probes on C features: standardised inside, so predict() takes raw features.
struct Probes {
  Tensor weight;  ///< (K, C) float64
  Tensor bias;    ///< (K) float64
  /// (n, C) -> (n, K) float64, in [0, 1]
  Tensor predict(const Tensor& features) const;
  /// The same before the sigmoid.
  Tensor scores(const Tensor& features) const;
};

/// Ridge-penalised logistic regressions by Newton's method (iteratively reweighted least squares), in float64.
/// features: (n, C) finite; targets: (n, K) in [0, 1]; sample_weights: (n) not negative, undefined: equal. ridge > 0 is the penalty on a standardised weight for each
/// item, so its strength does not depend on n. Features that never change have weight 0.
Probes fit_logistic(const Tensor& features, const Tensor& targets, double ridge = 1e-3, const Tensor& sample_weights = {});

/// Ridge regressions; predict with scores().
Probes fit_linear(const Tensor& features, const Tensor& targets, double ridge = 1e-3);

}  // namespace entrain::experts
