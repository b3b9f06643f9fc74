#include "entrain/modalities/losses.h"

#include <ATen/ATen.h>

#include <cmath>

#include "entrain/base/error.h"

namespace entrain::modalities {

Tensor symmetric_info_nce(const Tensor& a, const Tensor& b, const Tensor& scale) {
  const Tensor logits = at::matmul(a, b.t()) * scale;
  return (at::log_softmax(logits, 1).diagonal().mean() + at::log_softmax(logits, 0).diagonal().mean()) * -0.5;
}

Tensor logit_scale(const Tensor& log_scale) { return log_scale.exp().clamp_max(kMaxLogitScale); }

Tensor uniformity(const Tensor& z) {
  const int64_t n = z.size(0);
  ENTRAIN_CHECK(n >= 2, "uniformity of one vector");
  const Tensor squares = z.square().sum(1);
  const Tensor distances = squares.unsqueeze(1) + squares.unsqueeze(0) - at::matmul(z, z.t()) * 2.0;
  const Tensor diagonal = at::eye(n, z.options().dtype(at::kBool).requires_grad(false));
  const Tensor exponents = (distances * -2.0).masked_fill(diagonal, -INFINITY);
  return at::logsumexp(exponents, {0, 1}) - std::log(static_cast<double>(n) * static_cast<double>(n - 1));
}

Tensor across_loss(const std::vector<Tensor>& z, const Tensor& scale) {
  Tensor sum;
  int64_t n_pairs = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    for (size_t j = i + 1; j < z.size(); ++j, ++n_pairs) {
      const Tensor loss = symmetric_info_nce(z[i], z[j], scale);
      sum = sum.defined() ? sum + loss : loss;
    }
  }
  ENTRAIN_CHECK(n_pairs > 0, "one modality alone");
  return sum / static_cast<double>(n_pairs);
}

}  // namespace entrain::modalities
