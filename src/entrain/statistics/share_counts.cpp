#include "entrain/statistics/share_counts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "entrain/base/error.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double total(std::span<const int64_t> counts) {
  ENTRAIN_CHECK(counts.size() >= 2, std::to_string(counts.size()) + " parts");
  for (const int64_t count : counts) ENTRAIN_CHECK(count >= 0, "a count of " + std::to_string(count));
  return static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
}

}  // namespace

GTest g_test(std::span<const int64_t> counts, std::span<const double> share) {
  const double n = total(counts), sum = std::accumulate(share.begin(), share.end(), 0.0);
  check_finite(share);
  ENTRAIN_CHECK(share.size() == counts.size(), std::to_string(share.size()) + " shares of " + std::to_string(counts.size()) + " parts");
  ENTRAIN_CHECK(std::abs(sum - 1) <= 1e-6, "shares sum to " + std::to_string(sum));
  GTest test;
  test.degrees = -1;
  double squares = 0;
  for (size_t j = 0; j < counts.size(); ++j) {
    ENTRAIN_CHECK(share[j] >= 0, "a share of " + std::to_string(share[j]));
    const double expected = share[j] / sum, observed = n > 0 ? static_cast<double>(counts[j]) / n : expected;
    if (expected > 0) {
      test.degrees += 1;
      squares += (observed - expected) * (observed - expected) / expected;
      if (counts[j] > 0) test.g += 2 * static_cast<double>(counts[j]) * std::log(observed / expected);
    } else if (counts[j] > 0) {
      squares = test.g = kInfinity;
    }
  }
  test.g = std::max(0.0, test.g);
  test.w = std::sqrt(squares);
  if (test.g == kInfinity) test.p = 0;
  else if (test.degrees > 0) test.p = chi_squared_upper_tail(test.g, test.degrees);
  return test;
}

Overdispersion overdispersion(std::span<const Counts> runs) {
  Overdispersion result;
  double n_items = 0, n_runs = 0, squared_sizes = 0;
  for (const Counts& run : runs) {
    const double n = total(run);
    ENTRAIN_CHECK(run.size() == runs[0].size(), std::to_string(run.size()) + " and " + std::to_string(runs[0].size()) + " parts");
    result.mean.resize(run.size());
    for (size_t j = 0; j < run.size(); ++j) result.mean[j] += static_cast<double>(run[j]);
    n_items += n;
    squared_sizes += n * n;
    n_runs += n > 0 ? 1 : 0;
  }
  ENTRAIN_CHECK(n_items > 0, "no items in " + std::to_string(runs.size()) + " runs");
  double n_used = 0;
  for (double& part : result.mean) n_used += (part /= n_items) > 0 ? 1 : 0;
  result.concentration = kInfinity;
  if (n_runs < 2 || n_used < 2) return result;

  double between = 0, within = 0;  // weighted squares of shares around the mean; chance that two items of a run differ
  for (const Counts& run : runs) {
    const double n = total(run);
    if (n == 0) continue;
    for (size_t j = 0; j < run.size(); ++j) {
      const double share = static_cast<double>(run[j]) / n, distance = share - result.mean[j];
      between += n * distance * distance;
      within += n * share * (1 - share);
      if (result.mean[j] > 0) result.chi_squared += n * distance * distance / result.mean[j];
    }
  }
  result.degrees = (n_runs - 1) * (n_used - 1);
  result.p = chi_squared_upper_tail(result.chi_squared, result.degrees);
  if (n_items == n_runs) return result;
  between /= n_runs - 1;
  within /= n_items - n_runs;
  const double run_size = (n_items - squared_sizes / n_items) / (n_runs - 1);
  result.rho = std::clamp((between - within) / (between + (run_size - 1) * within), 0.0, 1.0);
  if (result.rho > 0) result.concentration = 1 / result.rho - 1;
  return result;
}

}  // namespace entrain::statistics
