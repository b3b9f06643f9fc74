#include "entrain/entanglement/pair_sums.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/entanglement/groups.h"
#include "entrain/entanglement/losses.h"
#include "entrain/entanglement/moment_losses.h"
#include "entrain/entanglement/ranks.h"
#include "entrain/ops/pairs.h"

namespace entrain::entanglement {
namespace {

constexpr int64_t kMostExact = 2048;

Tensor normal(RandomStream& random, at::IntArrayRef shape) {
  Tensor x = at::empty(shape, at::kDouble);
  double* values = x.data_ptr<double>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = random.next_normal();
  return x;
}

/// (d, d) orthogonal, uniformly distributed: the Q of a Gaussian matrix whose R has a positive diagonal (Mezzadri, Notices of the AMS 2007).
Tensor random_orthogonal(RandomStream& random, int64_t d) {
  const auto [q, r] = at::linalg_qr(normal(random, {d, d}));
  return q * r.diagonal().sign();
}

ops::FeatureMap map_of(PairSums way) { return way == PairSums::kPositiveFeatures ? ops::FeatureMap::kPositive : ops::FeatureMap::kTrigonometric; }

/// Estimated kernels are exp(x.y / temperature - shift).
double shift_of(PairSums way, double temperature) { return way == PairSums::kPositiveFeatures ? 0 : 1 / temperature; }

/// (n) w(0..n - 1)
Tensor distance_weights(const Config& config, int64_t n, at::ScalarType dtype) {
  return at::pow(config.window_decay, at::arange(n, at::kDouble)).to(dtype);
}

/// (n) sum of the weights of each row's pairs.
Tensor row_weight_sums(PairSums way, const Config& config, int64_t n, int64_t n_candidates, at::ScalarType dtype) {
  if (way != PairSums::kFft) return at::full({n}, static_cast<double>(n_candidates - 1), at::TensorOptions().dtype(dtype));
  const Tensor ahead = at::cumsum(distance_weights(config, n, at::kDouble), 0) - 1;  // of the pairs at distances 1..i
  return (ahead + ahead.flip(0)).to(dtype);
}

/// phi(z_i).phi(z_i): 1, or that of positive features, m^-1 sum e^(2 W z - |z|^2 / temperature).
Tensor self_kernel(PairSums way, const Tensor& z, const Tensor& frequencies, double temperature) {
  if (way != PairSums::kPositiveFeatures) return at::ones({}, z.options());
  const double m = static_cast<double>(frequencies.size(0));
  return ops::feature_dot(z, 2 * frequencies, at::full({z.size(0), frequencies.size(0)}, 1 / std::sqrt(m), z.options()), temperature / 2, ops::FeatureMap::kPositive);
}

/// (G, n) estimates of sum_{j != i} w_ij exp(z_i.z_j / temperature - shift), which may be negative.
Tensor estimated_sums(PairSums way, const Tensor& z, const Config& config, const Context& context) {
  const Tensor frequencies = draw_frequencies(config, context, z.size(2), z.scalar_type());
  const double temperature = config.temperature;
  if (way == PairSums::kFft) {
    return ops::distance_weighted_sums(z, frequencies, distance_weights(config, z.size(1), z.scalar_type()), temperature, ops::FeatureMap::kTrigonometric);
  }
  const Tensor sum = sum_over_ranks(ops::feature_sum(z, frequencies, temperature, map_of(way)), group_ranks(config, context));
  return ops::feature_dot(z, frequencies, sum, temperature, map_of(way)) - self_kernel(way, z, frequencies, temperature);
}

/// log(sums) + shift, where sums of weights `total` cannot be below total times the kernel of opposite vectors.
Tensor log_clipped(PairSums way, const Tensor& sums, const Tensor& total, double temperature) {
  const double shift = shift_of(way, temperature);
  return at::maximum(sums, (total * std::exp(-1 / temperature - shift)).detach().expand_as(sums)).log() + shift;
}

Tensor exact_log_row_sums(const Tensor& z, const Config& config, const Context& context) {
  Communicator* ranks = group_ranks(config, context);
  const Tensor candidates = number_of(ranks) == 1 ? z : gather_over_ranks(z, ranks).reshape({1, -1, z.size(2)});
  return ops::pair_logsumexp(z, candidates, config.temperature, rank_of(ranks) * z.size(1));
}

/// What a loss that forms no pairs is made of.
std::string moments_text(const Config& config, const std::string& frequencies) {
  if (config.loss == "ecf") return "characteristic function of all positions, " + frequencies;
  if (config.loss == "sigreg") return "characteristic function of all positions along " + std::to_string(config.slices) + " random directions";
  if (config.loss == "hsic" || config.loss == "attribute_hsic") return "covariances of random features of all positions, " + frequencies;
  return config.loss == "cosreg" ? "mean direction of all positions" : "covariances of all positions";
}

}  // namespace

PairSums choose_pairs(const Config& config, int64_t n) {
  if (config.loss == "entropy_floor" || config.loss == "simctg" || config.temperature < 0.25 || config.pairs == "exact") return PairSums::kExact;
  if (config.pairs == "auto") return n <= kMostExact ? PairSums::kExact : PairSums::kRandomFeatures;
  if (config.pairs == "positive_features") return PairSums::kPositiveFeatures;
  if (config.pairs == "fft") return PairSums::kFft;
  ENTRAIN_CHECK(config.pairs == "random_features", config.pairs);
  return PairSums::kRandomFeatures;
}

std::string describe(const Config& config, int64_t n) {
  const std::string frequencies = std::to_string(config.frequencies) + (config.orthogonal ? " orthogonal" : "") + " frequencies";
  if (is_moment_loss(config.loss)) return moments_text(config, frequencies);
  const std::string among = "pairs among " + std::to_string(n) + " positions", estimated = ", " + frequencies + ", for the " + among;
  switch (choose_pairs(config, n)) {
    case PairSums::kExact: return "exact " + among;
    case PairSums::kRandomFeatures: return "random features" + estimated;
    case PairSums::kPositiveFeatures: return "positive random features" + estimated;
    case PairSums::kFft: return "random features" + estimated + ", weighted by their distance (FFT)";
  }
  return "";
}

Tensor draw_frequencies(const Config& config, const Context& context, int64_t d, at::ScalarType dtype) {
  RandomStream random = stream(context.seed, "entanglement/frequencies", config.resample ? context.step : 0, context.block);
  std::vector<Tensor> rows;
  for (int64_t made = 0; made < config.frequencies; made += d) {
    const Tensor gaussian = normal(random, {d, d});
    rows.push_back(config.orthogonal ? random_orthogonal(random, d) * gaussian.norm(2, {1}, /*keepdim=*/true) : gaussian);
  }
  return (at::cat(rows).narrow(0, 0, config.frequencies) / std::sqrt(config.temperature)).to(dtype);
}

Tensor log_row_sums(const Tensor& z, const Config& config, const Context& context) {
  const int64_t n_candidates = group_size(z, config, context);
  const PairSums way = choose_pairs(config, n_candidates);
  if (way == PairSums::kExact) return exact_log_row_sums(z, config, context);
  return log_clipped(way, estimated_sums(way, z, config, context), row_weight_sums(way, config, z.size(1), n_candidates, z.scalar_type()), config.temperature);
}

Tensor log_pair_mean(const Tensor& z, const Config& config, const Context& context) {
  Communicator* ranks = group_ranks(config, context);
  const int64_t n_candidates = group_size(z, config, context);
  const PairSums way = choose_pairs(config, n_candidates);
  if (way == PairSums::kExact) {
    const Tensor own = at::logsumexp(exact_log_row_sums(z, config, context), {1});  // (G), G = 1 where there are ranks
    const Tensor all = number_of(ranks) == 1 ? own : at::logsumexp(gather_over_ranks(own, ranks), {0}, /*keepdim=*/true);
    return all - std::log(static_cast<double>(n_candidates) * static_cast<double>(n_candidates - 1));
  }
  const Tensor total = row_weight_sums(way, config, z.size(1), n_candidates, z.scalar_type()).sum() * static_cast<double>(number_of(ranks));
  return log_clipped(way, sum_over_ranks(estimated_sums(way, z, config, context).sum(1), ranks), total, config.temperature) - total.log();
}

double pair_flops(const Config& config, int64_t rows, int64_t positions, int64_t views, int64_t n_ranks) {
  const double tokens = static_cast<double>(rows * positions), d = static_cast<double>(config.width), m = static_cast<double>(config.frequencies);
  const int64_t n = group_size(config, rows, positions, views, n_ranks);
  const std::string& loss = config.loss;
  const double features = 6 * tokens * m * d;  // angles forward, again backward, and their gradient
  if (loss == "ecf") return features;
  if (loss == "sigreg") return 6 * tokens * d * static_cast<double>(config.slices * kSlicePoints);
  if (loss == "hsic" || loss == "attribute_hsic") return features + 6 * tokens * 4 * m * m;
  if (loss == "cosreg") return 0;
  if (loss == "decov" || loss == "barlow" || loss == "vicreg" || loss == "total_correlation") return 6 * tokens * d * d;
  switch (choose_pairs(config, n)) {
    case PairSums::kExact: return 8 * tokens * static_cast<double>(n) * d;  // scores forward, again backward, two gradients
    case PairSums::kFft: return features;
    default: return 2 * features;  // sums, then products with them
  }
}

}  // namespace entrain::entanglement
