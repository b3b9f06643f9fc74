#include "entrain/statistics/pooling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "entrain/base/error.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

/// Mean with weights 1 / (variance + added), and the weighted squares around it.
struct WeightedMean {
  double mean = 0, weight = 0, squared_weights = 0, squares = 0;
};

WeightedMean weighted_mean(std::span<const double> estimates, std::span<const double> variances, double added) {
  WeightedMean result;
  double sum = 0;
  for (size_t i = 0; i < estimates.size(); ++i) {
    const double weight = 1 / (variances[i] + added);
    sum += weight * estimates[i];
    result.weight += weight;
    result.squared_weights += weight * weight;
  }
  result.mean = sum / result.weight;
  for (size_t i = 0; i < estimates.size(); ++i) result.squares += (estimates[i] - result.mean) * (estimates[i] - result.mean) / (variances[i] + added);
  return result;
}

}  // namespace

RandomEffects random_effects(std::span<const double> estimates, std::span<const double> variances, double confidence) {
  ENTRAIN_CHECK(!estimates.empty() && estimates.size() == variances.size(), std::to_string(estimates.size()) + " estimates, " + std::to_string(variances.size()) + " variances");
  check_finite(estimates);
  check_finite(variances);
  check_confidence(confidence);
  for (const double variance : variances) ENTRAIN_CHECK(variance > 0, "a variance of " + std::to_string(variance));
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  RandomEffects result;
  result.degrees = static_cast<double>(estimates.size()) - 1;
  if (estimates.size() == 1) {
    result.mean = {estimates[0], -kInfinity, kInfinity};
    result.se = std::sqrt(variances[0]);
    return result;
  }
  const WeightedMean fixed = weighted_mean(estimates, variances, 0);
  result.q = fixed.squares;
  result.p_same = chi_squared_upper_tail(result.q, result.degrees);
  result.i_squared = result.q > result.degrees ? 1 - result.degrees / result.q : 0;
  result.tau_squared = std::max(0.0, (result.q - result.degrees) / (fixed.weight - fixed.squared_weights / fixed.weight));
  const WeightedMean random = weighted_mean(estimates, variances, result.tau_squared);
  result.se = std::sqrt(std::max(1.0, random.squares / result.degrees) / random.weight);
  const double half = t_half_width(confidence, result.degrees) * result.se;
  result.mean = {random.mean, random.mean - half, random.mean + half};
  result.p = t_two_sided(random.mean / result.se, result.degrees);
  return result;
}

PooledCorrelation pool_correlations(std::span<const FamilyCorrelation> families, CorrelationKind kind, double confidence) {
  check_confidence(confidence);
  std::vector<double> z, variances;
  for (const FamilyCorrelation& family : families) {
    if (family.n <= (kind == CorrelationKind::kKendall ? 4 : 3)) continue;
    const FisherZ fisher = fisher_z(family.r, family.n, kind);
    z.push_back(fisher.z);
    variances.push_back(fisher.variance);
  }
  PooledCorrelation pooled{{0, -1, 1}, {}, static_cast<int64_t>(z.size())};
  if (z.empty()) return pooled;
  pooled.z = random_effects(z, variances, confidence);
  pooled.r = {std::tanh(pooled.z.mean.estimate), std::tanh(pooled.z.mean.low), std::tanh(pooled.z.mean.high)};
  return pooled;
}

}  // namespace entrain::statistics
