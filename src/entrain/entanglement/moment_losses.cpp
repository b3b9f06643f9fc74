#include "entrain/entanglement/moment_losses.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/entanglement/losses.h"
#include "entrain/entanglement/pair_sums.h"
#include "entrain/entanglement/ranks.h"
#include "entrain/ops/pairs.h"

namespace entrain::entanglement {
namespace {

constexpr double kShrinkage = 0.01;
constexpr double kTinyVariance = 1e-12;

double positions_on_all_ranks(const Tensor& v, const Context& context) { return static_cast<double>(v.size(0) * number_of(context.ranks)); }

/// Rows' weights that add up to 1 over all ranks: all positions, or those with positives.
Tensor equal_weights(const Tensor& v, const Context& context) { return at::full({v.size(0)}, 1 / positions_on_all_ranks(v, context), v.options()); }
Tensor positive_weights(const Tensor& v, const Context& context, const Positives& positives) {
  const Tensor& weights = positives.row_weights();
  return (weights / sum_over_ranks(weights.sum(), context.ranks).clamp_min(1e-30)).to(v.scalar_type());
}

/// x less its weighted mean.
Tensor centred(const Tensor& x, const Tensor& weights, Communicator* ranks) { return x - sum_over_ranks(at::mv(x.t(), weights), ranks); }

/// x^T diag(weights) y over all ranks.
Tensor product(const Tensor& x, const Tensor& y, const Tensor& weights, Communicator* ranks) {
  return sum_over_ranks(at::mm(x.t(), y * weights.unsqueeze(1)), ranks);
}

/// Centred columns of unit variance.
Tensor standardised(const Tensor& x, const Tensor& weights, Communicator* ranks) {
  const Tensor middle = centred(x, weights, ranks);
  const Tensor variance = sum_over_ranks(at::mv(middle.square().t(), weights), ranks);
  return middle / (variance + kTinyVariance).sqrt();
}

/// (d, d)
Tensor correlations(const Tensor& v, const Context& context) {
  const Tensor weights = equal_weights(v, context), x = standardised(v, weights, context.ranks);
  return product(x, x, weights, context.ranks);
}

/// Sum of squares off the diagonal.
Tensor off_diagonal(const Tensor& matrix) { return matrix.square().sum() - matrix.diagonal().square().sum(); }

/// |mean e^(i w.x) - e^(-variance |w|^2 / 2)|^2 at each of the frequencies (m, d). x: (n, d). Returns (m).
Tensor distance_from_normal(const Tensor& x, const Tensor& frequencies, double variance, const Context& context) {
  const int64_t m = frequencies.size(0);
  const Tensor sum = sum_over_ranks(ops::feature_sum(x.unsqueeze(0), frequencies, 1.0, ops::FeatureMap::kTrigonometric), context.ranks).squeeze(0);
  const Tensor ecf = sum * (std::sqrt(static_cast<double>(m)) / positions_on_all_ranks(x, context));  // cosines, then sines
  const Tensor target = (frequencies.square().sum(1) * (-0.5 * variance)).exp();
  return (ecf.narrow(0, 0, m) - target).square() + ecf.narrow(0, m, m).square();
}

Tensor scaled(const Tensor& v) { return v / std::sqrt(static_cast<double>(v.size(1))); }

Tensor ecf(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  const Tensor x = scaled(v), frequencies = draw_frequencies(config, context, v.size(1), v.scalar_type());
  const Tensor distance = distance_from_normal(x, frequencies, 1.0 / static_cast<double>(v.size(1)), context).mean();
  return alignment(x, context, positives) + config.uniformity_weight * distance;
}

/// (slices, d) random unit vectors, the same on all ranks.
Tensor draw_slices(const Config& config, const Context& context, int64_t d) {
  RandomStream random = stream(context.seed, "entanglement/slices", config.resample ? context.step : 0, context.block);
  const Tensor directions = at::empty({config.slices, d}, at::kDouble);
  double* values = directions.data_ptr<double>();
  for (int64_t i = 0; i < directions.numel(); ++i) values[i] = random.next_normal();
  return unit_vectors(directions);
}

Tensor sigreg(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  constexpr double kStep = 0.5;
  const Tensor points = at::arange(1, kSlicePoints + 1, at::kDouble) * kStep;
  // The integrand is even and 0 at t = 0.
  const Tensor weights = 2 * kStep * (-0.5 * points.square()).exp();
  weights[kSlicePoints - 1].mul_(0.5);
  const Tensor frequencies = (points.view({-1, 1, 1}) * draw_slices(config, context, v.size(1))).reshape({-1, v.size(1)}).to(v.scalar_type());
  const Tensor distance = distance_from_normal(v, frequencies, 1.0, context).view({kSlicePoints, config.slices}).mean(1);
  return alignment(scaled(v), context, positives) + config.uniformity_weight * (distance * weights.to(v.scalar_type())).sum();
}

/// (n, 2m) trigonometric features of z.
Tensor features(const Tensor& z, const Config& config, const Context& context) {
  const Tensor angles = at::mm(z, draw_frequencies(config, context, z.size(1), z.scalar_type()).t());
  return at::cat({angles.cos(), angles.sin()}, 1) / std::sqrt(static_cast<double>(config.frequencies));
}

Tensor hsic(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  const double n = positions_on_all_ranks(v, context);
  const Tensor weights = equal_weights(v, context), phi = centred(features(unit_vectors(v), config, context), weights, context.ranks);
  const Tensor with_positives = weighted_mean((phi * positives.apply(phi)).sum(1), positives.row_weights(), context.ranks) * (n * n / ((n - 1) * (n - 1)));
  const Tensor with_itself = (product(phi, phi, weights, context.ranks) * (n / (n - 1))).square().sum();
  return config.hsic_weight * (with_itself + kTinyVariance).sqrt() - with_positives;
}

Tensor cosreg(const Tensor& v, const Config&, const Context& context, const Positives&) {
  const double n = positions_on_all_ranks(v, context);
  return (sum_over_ranks(unit_vectors(v).sum(0), context.ranks) / n).square().sum() - 1 / n;
}

Tensor decov(const Tensor& v, const Config&, const Context& context, const Positives&) { return 0.5 * off_diagonal(correlations(v, context)); }

Tensor barlow(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  const Tensor weights = positive_weights(v, context, positives);
  const Tensor first = standardised(v, weights, context.ranks), second = standardised(positives.apply(v), weights, context.ranks);
  const Tensor cross = product(first, second, weights, context.ranks);
  return (1 - cross.diagonal()).square().sum() + config.off_diagonal_weight * off_diagonal(cross);
}

/// VICReg's variance and covariance terms of one view.
Tensor spread(const Tensor& x, const Tensor& weights, const Config& config, const Context& context) {
  const Tensor middle = centred(x, weights, context.ranks), covariance = product(middle, middle, weights, context.ranks);
  const double d = static_cast<double>(x.size(1));
  return config.vicreg_variance * (1 - (covariance.diagonal() + 1e-4).sqrt()).clamp_min(0).mean() + config.vicreg_covariance * (off_diagonal(covariance) / d);
}

Tensor vicreg(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  const Tensor weights = positive_weights(v, context, positives), other = positives.apply(v);
  const Tensor distance = sum_over_ranks(((v - other).square().mean(1) * weights).sum(), context.ranks);
  return config.vicreg_invariance * distance + spread(v, weights, config, context) + spread(other, weights, config, context);
}

Tensor total_correlation(const Tensor& v, const Config&, const Context& context, const Positives&) {
  const Tensor shrunk = (1 - kShrinkage) * correlations(v, context) + kShrinkage * at::eye(v.size(1), v.options());
  return -0.5 * std::get<1>(at::linalg_slogdet(shrunk));
}

/// The number of values on all ranks.
int64_t n_values(const Tensor& attribute, Communicator* ranks) { return gather_over_ranks(attribute.max().reshape({1}), ranks).max().item<int64_t>() + 1; }

Tensor attribute_hsic(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  ENTRAIN_CHECK(context.attribute.defined(), "attribute_hsic without an attribute");
  const Tensor attribute = context.attribute.reshape({-1}), tagged = at::nonzero(attribute >= 0).squeeze(1), values = attribute.index_select(0, tagged);
  const Tensor phi = features(unit_vectors(v.index_select(0, tagged)), config, context);
  const Tensor onehot = (values.unsqueeze(1) == at::arange(std::max<int64_t>(1, n_values(attribute, context.ranks)), at::kLong)).to(v.scalar_type());
  const Tensor n = sum_over_ranks(at::full({}, static_cast<double>(tagged.size(0)), v.options()), context.ranks).clamp_min(1);
  const Tensor weights = (1 / n).expand({tagged.size(0)});
  const Tensor covariance = product(centred(phi, weights, context.ranks), centred(onehot, weights, context.ranks), weights, context.ranks);
  return config.attribute_weight * covariance.square().sum() + decov(v, config, context, positives);
}

using MomentLoss = Tensor (*)(const Tensor&, const Config&, const Context&, const Positives&);
const std::map<std::string, MomentLoss>& moment_losses() {
  static const std::map<std::string, MomentLoss> all = {{"ecf", ecf},       {"sigreg", sigreg}, {"hsic", hsic},
                                                        {"cosreg", cosreg}, {"decov", decov},   {"barlow", barlow},
                                                        {"vicreg", vicreg}, {"total_correlation", total_correlation}, {"attribute_hsic", attribute_hsic}};
  return all;
}

}  // namespace

bool is_moment_loss(const std::string& name) { return moment_losses().count(name) > 0; }

Tensor moment_loss(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  return moment_losses().at(config.loss)(v, config, context, positives);
}

}  // namespace entrain::entanglement
