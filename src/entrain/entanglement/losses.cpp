#include "entrain/entanglement/losses.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>
#include <set>

#include "entrain/base/error.h"
#include "entrain/entanglement/groups.h"
#include "entrain/entanglement/moment_losses.h"
#include "entrain/entanglement/pair_sums.h"
#include "entrain/entanglement/ranks.h"
#include "entrain/ops/pairs.h"

namespace entrain::entanglement {
namespace {

/// (B T) mean over j != i of s_ij.
Tensor mean_scores(const Tensor& groups, const Config& config, const Context& context) {
  const Tensor others = sum_over_ranks(groups.sum(1, /*keepdim=*/true), group_ranks(config, context)) - groups;
  const double pairs = static_cast<double>(group_size(groups, config, context) - 1);
  return from_groups((groups * others).sum(2), config, context) / (config.temperature * pairs);
}

/// (B T) log sum_{j != i} e^(s_ij) - (1 - smoothing) z_i.M_i / tau - smoothing mean_j s_ij
Tensor cross_entropies(const Tensor& z, double smoothing, const Config& config, const Context& context, const Positives* positives) {
  const Tensor groups = to_groups(z, config, context);
  Tensor rows = from_groups(log_row_sums(groups, config, context), config, context);
  if (smoothing < 1) {
    const Tensor flat = z.reshape({-1, z.size(2)});
    rows = rows - (flat * positives->apply(flat)).sum(1) * ((1 - smoothing) / config.temperature);
  }
  return smoothing > 0 ? rows - smoothing * mean_scores(groups, config, context) : rows;
}

Tensor infonce(const Tensor& z, double smoothing, const Config& config, const Context& context, const Positives& positives) {
  return weighted_mean(cross_entropies(z, smoothing, config, context, &positives), positives.row_weights(), context.ranks);
}

Tensor literal(const Tensor& z, const Config& config, const Context& context) {
  const Tensor rows = cross_entropies(z, 1.0, config, context, nullptr);
  const double pairs = static_cast<double>(group_size(to_groups(z, config, context), config, context) - 1);
  return weighted_mean(rows, at::ones({rows.size(0)}, at::kDouble), context.ranks) - std::log(pairs);
}

Tensor uniformity(const Tensor& z, const Config& config, const Context& context) {
  const Tensor groups = log_pair_mean(to_groups(z, config, context), config, context) - 1 / config.temperature;
  return !is_by_row(config) ? groups.mean() : sum_over_ranks(groups.mean(), context.ranks) / static_cast<double>(number_of(context.ranks));
}

/// The same on every rank for scope `batch`, a mean over all ranks' rows for `sequence`.
Tensor entropy_shortfall(const Tensor& z, const Config& config, const Context& context) {
  const Tensor groups = to_groups(z, config, context);
  Communicator* ranks = group_ranks(config, context);
  const Tensor candidates = number_of(ranks) == 1 ? groups : gather_over_ranks(groups, ranks).reshape({1, -1, z.size(2)});
  const ops::PairSoftmax softmax = ops::pair_softmax(groups, candidates, config.temperature, rank_of(ranks) * groups.size(1));
  const double floor = config.entropy_share * std::log(static_cast<double>(candidates.size(1) - 1));
  const Tensor rows = (floor - (softmax.lse - softmax.mean)).clamp_min(0).reshape({-1});
  return weighted_mean(rows, at::ones({rows.size(0)}, at::kDouble), context.ranks);
}

Tensor hinge(const Tensor& z, const Config& config, const Context& context) {
  const Tensor groups = to_groups(z, config, context);
  if (!is_by_row(config)) return ops::pair_hinge(gather_over_ranks(groups, context.ranks).reshape({1, -1, z.size(2)}), 1 - config.margin).mean();
  return sum_over_ranks(ops::pair_hinge(groups, 1 - config.margin).mean(), context.ranks) / static_cast<double>(number_of(context.ranks));
}

Tensor pair_loss(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  const Tensor z = unit_vectors(v);
  const auto align = [&] { return alignment(z.reshape({-1, z.size(2)}), context, positives); };
  if (config.loss == "infonce") return infonce(z, config.smoothing, config, context, positives);
  if (config.loss == "contraclm") return infonce(z, 0.0, config, context, positives);
  if (config.loss == "literal") return literal(z, config, context);
  if (config.loss == "align_uniform") return align() + config.uniformity_weight * uniformity(z, config, context);
  if (config.loss == "entropy_floor") return align() + config.uniformity_weight * entropy_shortfall(z, config, context);
  ENTRAIN_CHECK(config.loss == "simctg", config.loss);
  return hinge(z, config, context);
}

}  // namespace

Tensor loss(const Tensor& v, const Config& config, const Context& context, const Positives& positives) {
  ENTRAIN_CHECK(config.loss != "contraclm" || context.views == 2, "contraclm with " + std::to_string(context.views) + " views");
  const Tensor groups = to_groups(v, config, context);
  if (groups.size(0) == 0 || group_size(groups, config, context) < 2) return v.sum() * 0;
  if (is_moment_loss(config.loss)) return moment_loss(v.reshape({-1, v.size(2)}), config, context, positives);
  return pair_loss(v, config, context, positives);
}

double loss_floor(const Config& config, const Context& context) {
  static const std::set<std::string> above_zero = {"literal", "entropy_floor", "simctg", "ecf", "sigreg", "decov", "barlow", "vicreg", "total_correlation", "attribute_hsic"};
  if (above_zero.count(config.loss) > 0) return 0;
  if (config.loss == "cosreg" && context.ids.defined()) return -1.0 / static_cast<double>(context.ids.numel() * number_of(context.ranks));
  return -std::numeric_limits<double>::infinity();
}

Tensor weighted_mean(const Tensor& rows, const Tensor& weights, Communicator* ranks) {
  const Tensor total = sum_over_ranks(weights.sum(), ranks);
  return sum_over_ranks((rows * weights.to(rows.scalar_type())).sum(), ranks) / total.clamp_min(1e-30).to(rows.scalar_type());
}

Tensor unit_vectors(const Tensor& v) { return v / v.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12); }

Tensor alignment(const Tensor& x, const Context& context, const Positives& positives) {
  const Tensor squares = x.square().sum(1, /*keepdim=*/true);
  const Tensor moved = positives.apply(at::cat({x, squares}, 1));  // A x and A |x|^2
  const Tensor rows = squares.squeeze(1) - 2 * (x * moved.narrow(1, 0, x.size(1))).sum(1) + moved.select(1, x.size(1));
  return weighted_mean(rows, positives.row_weights(), context.ranks);
}

double soft_nearest_neighbour(const Tensor& z, const Tensor& labels, std::span<const double> temperatures) {
  const at::NoGradGuard no_grad;
  const Tensor squares = z.square().sum(1);
  const Tensor distances = (squares.unsqueeze(1) + squares.unsqueeze(0) - 2 * at::mm(z, z.t())).clamp_min(0).fill_diagonal_(INFINITY);
  const Tensor differ = labels.unsqueeze(1) != labels.unsqueeze(0);
  const Tensor rows = at::nonzero((differ.logical_not().sum(1) > 1)).squeeze(1);
  if (rows.size(0) == 0) return 0;
  double lowest = INFINITY;
  for (const double temperature : temperatures) {
    const Tensor scores = distances.index_select(0, rows).div_(-temperature);
    const Tensor equal = at::logsumexp(scores.masked_fill(differ.index_select(0, rows), -INFINITY), {1});
    lowest = std::min(lowest, (at::logsumexp(scores, {1}) - equal).mean().item<double>());
  }
  return lowest;
}

}  // namespace entrain::entanglement
