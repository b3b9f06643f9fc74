#include "entrain/experts/logistic.h"

#include <ATen/ATen.h>

#include "entrain/base/error.h"

namespace entrain::experts {
namespace {

constexpr int kIterations = 25;
constexpr double kConverged = 1e-8;
constexpr double kSmallest = 1e-9, kConstant = 1e-10;  // standard deviations below, absolute or as a share of the mean, are none

struct Standardised {
  Tensor design;       // (n, C + 1), the last column is 1
  Tensor mean, scale;  // (C)
};

Standardised standardise(const Tensor& features) {
  const Tensor x = features.to(at::kDouble);
  ENTRAIN_CHECK(x.dim() == 2 && x.size(0) > 0 && at::isfinite(x).all().item<bool>(), "features must be finite");
  Standardised out;
  out.mean = x.mean(0);
  const Tensor centred = x - out.mean;
  const Tensor sd = centred.square().mean(0).sqrt();
  const Tensor rounding = (out.mean.abs() * kConstant).clamp_min(kSmallest);  // a column that never changes may still miss its mean
  out.scale = at::where(sd > rounding, sd.reciprocal(), at::zeros_like(sd));
  out.design = at::cat({centred * out.scale, at::ones({x.size(0), 1}, at::kDouble)}, 1);
  return out;
}

Probes unstandardise(const Tensor& solution, const Standardised& data) {  // (C + 1, K)
  const int64_t c = solution.size(0) - 1;
  Probes probes;
  probes.weight = (solution.narrow(0, 0, c) * data.scale.unsqueeze(1)).t().contiguous();
  probes.bias = solution[c] - at::mv(probes.weight, data.mean);
  return probes;
}

Tensor penalty(int64_t c, double ridge, double n) {
  Tensor diagonal = at::full({c + 1}, ridge * n, at::kDouble);
  diagonal[c] = 1e-9 * n;  // the intercept is free
  return at::diag(diagonal);
}

}  // namespace

Tensor Probes::scores(const Tensor& features) const { return at::addmm(bias, features.to(at::kDouble), weight.t()); }
Tensor Probes::predict(const Tensor& features) const { return at::sigmoid(scores(features)); }

Probes fit_logistic(const Tensor& features, const Tensor& targets, double ridge, const Tensor& sample_weights) {
  const Standardised data = standardise(features);
  const Tensor y = targets.to(at::kDouble), &x = data.design;
  const int64_t n = x.size(0), c = x.size(1) - 1;
  const Tensor importance = sample_weights.defined() ? sample_weights.to(at::kDouble) : at::ones({n}, at::kDouble);
  const Tensor prior = penalty(c, ridge, importance.sum().item<double>());
  std::vector<Tensor> solutions;
  for (int64_t k = 0; k < y.size(1); ++k) {
    Tensor w = at::zeros({c + 1}, at::kDouble);
    const Tensor target = y.select(1, k);
    const auto loss_at = [&](const Tensor& weights) {
      const Tensor z = at::mv(x, weights);
      return ((at::softplus(z) - target * z) * importance).sum().item<double>() + 0.5 * at::dot(weights, at::mv(prior, weights)).item<double>();
    };
    double loss = loss_at(w);
    for (int i = 0; i < kIterations; ++i) {
      const Tensor p = at::sigmoid(at::mv(x, w));
      const Tensor gradient = at::mv(x.t(), (p - target) * importance) + at::mv(prior, w);
      const Tensor hessian = at::matmul(x.t(), x * (p * (1 - p) * importance).unsqueeze(1)) + prior;
      const Tensor step = at::linalg_solve(hessian, gradient);
      double rate = 1, next = loss_at(w - step);
      while (!(next <= loss) && rate > 1e-4) next = loss_at(w - step * (rate *= 0.5));
      if (!(next <= loss)) break;
      w = w - step * rate;
      const bool converged = loss - next <= kConverged * (1 + std::abs(next));
      loss = next;
      if (converged) break;
    }
    solutions.push_back(w);
  }
  return unstandardise(at::stack(solutions, 1), data);
}

Probes fit_linear(const Tensor& features, const Tensor& targets, double ridge) {
  const Standardised data = standardise(features);
  const Tensor& x = data.design;
  const Tensor normal = at::matmul(x.t(), x) + penalty(x.size(1) - 1, ridge, static_cast<double>(x.size(0)));
  return unstandardise(at::linalg_solve(normal, at::matmul(x.t(), targets.to(at::kDouble))), data);
}

}  // namespace entrain::experts
