#include "entrain/statistics/resampling.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "entrain/base/error.h"

namespace entrain::statistics {
namespace {

double quantile_of_sorted(const std::vector<double>& sorted, double q) {
  const double position = q * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double share = position - static_cast<double>(below);
  return sorted[below] + share * (sorted[above] - sorted[below]);
}

/// Differences a - b of all seeds, unit after unit, and the units' weights.
struct CrossedUnits {
  size_t n_seeds, n_units;
  std::vector<double> differences;  // (n_units, n_seeds)
  std::vector<double> weights;      // (n_units)
};

Interval crossed_bootstrap(const CrossedUnits& data, int64_t n_resamples, RandomStream random, double confidence) {
  ENTRAIN_CHECK(data.n_units > 0 && n_resamples > 0, "nothing to resample");
  for (const double weight : data.weights) ENTRAIN_CHECK(weight > 0, "a unit of weight " + std::to_string(weight));
  const double n_seeds = static_cast<double>(data.n_seeds);
  double sum = 0, weight = 0;
  for (const double difference : data.differences) sum += difference;
  for (const double w : data.weights) weight += n_seeds * w;
  std::vector<double> resampled(static_cast<size_t>(n_resamples)), times(data.n_seeds);
  for (double& value : resampled) {
    std::fill(times.begin(), times.end(), 0.0);
    for (size_t s = 0; s < data.n_seeds; ++s) times[data.n_seeds == 1 ? 0 : random.next_below(data.n_seeds)] += 1;
    double drawn = 0, drawn_weight = 0;
    for (size_t i = 0; i < data.n_units; ++i) {
      const size_t unit = random.next_below(data.n_units);
      const double* row = &data.differences[unit * data.n_seeds];
      for (size_t s = 0; s < data.n_seeds; ++s) drawn += times[s] * row[s];
      drawn_weight += n_seeds * data.weights[unit];
    }
    value = drawn / drawn_weight;
  }
  return percentile_interval(sum / weight, std::move(resampled), confidence);
}

}  // namespace

Interval percentile_interval(double estimate, std::vector<double> resampled, double confidence) {
  ENTRAIN_CHECK(!resampled.empty(), "no resamples");
  ENTRAIN_CHECK(confidence > 0 && confidence < 1, "confidence " + std::to_string(confidence));
  std::sort(resampled.begin(), resampled.end());
  return {estimate, quantile_of_sorted(resampled, (1 - confidence) / 2), quantile_of_sorted(resampled, (1 + confidence) / 2)};
}

Interval paired_bootstrap(std::span<const PairedUnit> units, int64_t n_resamples, RandomStream random, double confidence) {
  CrossedUnits data{1, units.size(), {}, {}};
  for (const PairedUnit& unit : units) {
    data.differences.push_back(unit.a - unit.b);
    data.weights.push_back(unit.weight);
  }
  return crossed_bootstrap(data, n_resamples, random, confidence);
}

Interval nested_bootstrap(const std::vector<std::vector<PairedUnit>>& by_seed, int64_t n_resamples, RandomStream random, double confidence) {
  ENTRAIN_CHECK(!by_seed.empty(), "no seeds");
  CrossedUnits data{by_seed.size(), by_seed[0].size(), {}, {}};
  for (const auto& units : by_seed) ENTRAIN_CHECK(units.size() == data.n_units, "seeds of " + std::to_string(units.size()) + " and " + std::to_string(data.n_units) + " units");
  for (size_t unit = 0; unit < data.n_units; ++unit) {
    data.weights.push_back(by_seed[0][unit].weight);
    for (const auto& units : by_seed) {
      ENTRAIN_CHECK(units[unit].weight == data.weights.back(), "weight of unit " + std::to_string(unit) + " differs between seeds");
      data.differences.push_back(units[unit].a - units[unit].b);
    }
  }
  return crossed_bootstrap(data, n_resamples, random, confidence);
}

}  // namespace entrain::statistics
