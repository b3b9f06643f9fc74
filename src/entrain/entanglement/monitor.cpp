#include "entrain/entanglement/monitor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "entrain/base/format.h"
#include "entrain/entanglement/groups.h"
#include "entrain/entanglement/losses.h"
#include "entrain/entanglement/moment_losses.h"
#include "entrain/entanglement/pair_sums.h"
#include "entrain/entanglement/positives.h"
#include "entrain/entanglement/ranks.h"
#include "entrain/ops/pairs.h"

namespace entrain::entanglement {
namespace {

constexpr int64_t kMostPositions = 2048;
constexpr int64_t kEstimatePositions = 512;

/// Places in History::state(); from kRaised on, one for each kind of alarm.
enum : int64_t { kSteps, kRatioSum, kLossSum, kNewestRatio, kNewestLoss, kFirstMeanRatio, kPreviousMeanLoss, kRaised, kHistoryNumbers = kRaised + 4 };

/// Indices of `n_wanted` of n positions at even distances.
Tensor evenly_spaced(int64_t n, int64_t n_wanted) { return at::floor_divide(at::arange(n_wanted, at::kLong) * n, n_wanted); }

double mean_cosine(const Tensor& z) {
  const double n = static_cast<double>(z.size(0));
  return (z.sum(0).square().sum().item<double>() - z.square().sum().item<double>()) / (n * (n - 1));
}

double effective_rank(const Tensor& z) {
  const Tensor gram = z.size(0) < z.size(1) ? at::mm(z, z.t()) : at::mm(z.t(), z);
  const Tensor values = at::linalg_eigvalsh(gram).clamp_min(0), shares = values / values.sum().clamp_min(1e-30);
  return std::exp(-at::xlogy(shares, shares).sum().item<double>());
}

/// log of the mean over i != j of e^(z_i.z_j / temperature), made as `pairs` says whatever the loss is. z: (n, d).
double log_mean_kernel(const Tensor& z, const std::string& pairs, double temperature, Config config, const Context& context) {
  config.loss = "align_uniform";
  config.pairs = pairs;
  config.temperature = temperature;
  return log_pair_mean(z.unsqueeze(0), config, context).item<double>();
}

std::vector<double> to_vector(const Tensor& x) {
  const Tensor values = x.to(at::kDouble).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

void read_entropies(const Tensor& z, double temperature, Reading& reading) {
  const ops::PairSoftmax softmax = ops::pair_softmax(z.unsqueeze(0), z.unsqueeze(0), temperature, 0);
  const Tensor entropies = ((softmax.lse - softmax.mean) / std::log(static_cast<double>(z.size(0) - 1))).squeeze(0);
  reading.entropies = to_vector(entropies);
  reading.entropy_mean = entropies.mean().item<double>();
  reading.entropy_p5 = at::quantile(entropies, 0.05).item<double>();
  reading.entropy_p95 = at::quantile(entropies, 0.95).item<double>();
}

double estimate_error(const Tensor& z, int64_t n_candidates, const Config& config, const Context& context) {
  const bool has_kernel = config.loss == "hsic" || config.loss == "attribute_hsic";  // by features whatever config.pairs says
  if (is_moment_loss(config.loss) && !has_kernel) return 0;
  const PairSums way = has_kernel ? PairSums::kRandomFeatures : choose_pairs(config, n_candidates);
  if (way == PairSums::kExact) return 0;
  // With `fft`, the same features without the weights.
  const std::string pairs = way == PairSums::kPositiveFeatures ? "positive_features" : "random_features";
  return std::abs(std::exp(log_mean_kernel(z, pairs, config.temperature, config, context) - log_mean_kernel(z, "exact", config.temperature, config, context)) - 1);
}

void read_projection(const Tensor& projection, Reading& reading) {
  const Tensor squares = at::linalg_svdvals(projection.to(at::kFloat)).square();
  const double total = squares.sum().item<double>();
  reading.head_norm = std::sqrt(total);
  reading.head_top_share = total > 0 ? squares[0].item<double>() / total : 0;
}

std::string number(double value) {
  return format("%.3g", value);
}

}  // namespace

Reading read(const Tensor& h, const Tensor& projection, const Config& config, const Context& context) {
  const at::NoGradGuard no_grad;
  Reading reading;
  const int64_t n = h.size(0) * h.size(1);
  reading.width = projection.size(0);
  read_projection(projection, reading);
  if (n < 3) return reading;
  Context alone = context;
  alone.ranks = nullptr;
  const Tensor states = h.reshape({n, h.size(2)}).to(at::kFloat), all = unit_vectors(at::linear(states, projection.to(at::kFloat)));
  const auto positives = make_positives(config, alone);
  reading.alignment = alignment(all, alone, *positives).item<double>();
  reading.positive_share = positives->share();

  const Tensor chosen = evenly_spaced(n, std::min(n, kMostPositions));
  const Tensor z = all.index_select(0, chosen), state_directions = unit_vectors(states.index_select(0, chosen));
  reading.mean_cosine = mean_cosine(z);
  reading.effective_rank = effective_rank(z);
  reading.state_mean_cosine = mean_cosine(state_directions);
  reading.state_effective_rank = effective_rank(state_directions);
  const int64_t half = z.size(0) / 2;
  reading.cosines = to_vector((z.narrow(0, 0, half) * z.narrow(0, half, half)).sum(1));
  constexpr double kUniformityTemperature = 0.25;  // e^(-2 |x - y|^2) of unit vectors
  reading.uniformity = log_mean_kernel(z, "exact", kUniformityTemperature, config, alone) - 1 / kUniformityTemperature;
  read_entropies(z, config.temperature, reading);
  constexpr std::array<double, 6> kTemperatures = {0.05, 0.1, 0.25, 0.5, 1.0, 2.0};
  reading.soft_nearest_neighbour = soft_nearest_neighbour(z, context.ids.reshape({-1}).index_select(0, chosen), kTemperatures);
  const int64_t group = group_size(config, h.size(0), h.size(1), context.views, number_of(context.ranks));
  reading.estimate_error = estimate_error(z.index_select(0, evenly_spaced(z.size(0), std::min(z.size(0), kEstimatePositions))), group, config, alone);
  return reading;
}

std::vector<std::pair<std::string, double>> figures(const Reading& reading) {
  return {{"mean_cosine", reading.mean_cosine},
          {"effective_rank", reading.effective_rank},
          {"state_mean_cosine", reading.state_mean_cosine},
          {"state_effective_rank", reading.state_effective_rank},
          {"uniformity", reading.uniformity},
          {"alignment", reading.alignment},
          {"positive_share", reading.positive_share},
          {"entropy_p5", reading.entropy_p5},
          {"entropy_mean", reading.entropy_mean},
          {"entropy_p95", reading.entropy_p95},
          {"head_norm", reading.head_norm},
          {"head_top_share", reading.head_top_share},
          {"soft_nearest_neighbour", reading.soft_nearest_neighbour},
          {"estimate_error", reading.estimate_error}};
}

std::vector<std::pair<std::string, std::vector<double>>> distributions(const Reading& reading) {
  return {{"entropies", reading.entropies}, {"cosines", reading.cosines}};
}

History::History() : state_(at::zeros({kHistoryNumbers}, at::kDouble)) {
  double* of = state_.data_ptr<double>();
  of[kFirstMeanRatio] = of[kPreviousMeanLoss] = NAN;
}

void History::add(double side_ratio, double loss) {
  double* of = state_.data_ptr<double>();
  of[kSteps] += 1;
  of[kRatioSum] += side_ratio;
  of[kLossSum] += loss;
  of[kNewestRatio] = side_ratio;
  of[kNewestLoss] = loss;
}

Course History::read() {
  double* of = state_.data_ptr<double>();
  if (of[kSteps] == 0) return {};
  Course course;
  course.ratio = of[kNewestRatio];
  course.loss = of[kNewestLoss];
  course.mean_ratio = of[kRatioSum] / of[kSteps];
  course.mean_loss = of[kLossSum] / of[kSteps];
  course.first_mean_ratio = of[kFirstMeanRatio];
  course.previous_mean_loss = of[kPreviousMeanLoss];
  if (std::isnan(of[kFirstMeanRatio])) of[kFirstMeanRatio] = course.mean_ratio;
  of[kPreviousMeanLoss] = course.mean_loss;
  of[kSteps] = of[kRatioSum] = of[kLossSum] = 0;
  return course;
}

bool History::is_first(AlarmKind kind) {
  double& raised = state_.data_ptr<double>()[kRaised + static_cast<int64_t>(kind)];
  const bool first = raised == 0;
  raised = 1;
  return first;
}

std::vector<Alarm> alarms(const Reading& reading, const Course& course) {
  std::vector<Alarm> all;
  const auto raise = [&](AlarmKind kind, const std::string& text) { all.push_back({kind, text}); };
  if (reading.mean_cosine > 0.9) {
    raise(AlarmKind::kCollapse, "the projected tokens have collapsed to one direction (mean cosine " + number(reading.mean_cosine) +
                  "): lower entanglement.smoothing to 0.3 or less, raise entanglement.temperature to 0.5, or choose a loss that spreads, such as align_uniform");
  }
  if (reading.effective_rank < std::min(5.0, 0.8 * static_cast<double>(reading.width))) {
    raise(AlarmKind::kLowRank, "the projected tokens use few dimensions (effective rank " + number(reading.effective_rank) +
                  "): raise entanglement.temperature, lower entanglement.smoothing or raise entanglement.uniformity_weight");
  }
  // Comparisons with NaN are false: what is not known raises nothing.
  const bool at_floor = course.ratio < 1e-3 && course.loss - course.floor < 0.05 * std::max(1.0, std::abs(course.floor));
  const bool has_stopped = std::abs(course.mean_loss - course.previous_mean_loss) < 0.01 * std::max(1.0, std::abs(course.mean_loss));
  const bool has_fallen = course.mean_ratio < 0.01 * course.first_mean_ratio;
  if (at_floor || (has_fallen && has_stopped)) {
    const std::string why = at_floor ? "ratio " + number(course.ratio) + ", loss " + number(course.loss) + " near its floor"
                                     : "ratio " + number(course.mean_ratio) + " after " + number(course.first_mean_ratio) + " at first, loss " + number(course.mean_loss) + " and no longer moving";
    raise(AlarmKind::kIdleProjection, "the projection satisfies the loss by itself and hardly any gradient reaches the model (" + why +
                  "): lower entanglement.head_lr, or choose other positives or a loss that has them");
  }
  if (reading.estimate_error > 0.2) {
    raise(AlarmKind::kEstimates, "the estimated sums over pairs are " + number(100 * reading.estimate_error) +
                  " % off: raise entanglement.frequencies or entanglement.temperature, or set entanglement.pairs = \"exact\"");
  }
  return all;
}

}  // namespace entrain::entanglement
