#include "entrain/statistics/rank.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "entrain/base/error.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/hypothesis.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

void check_pairs(std::span<const double> x, std::span<const double> y) {
  ENTRAIN_CHECK(x.size() == y.size(), std::to_string(x.size()) + " and " + std::to_string(y.size()) + " values");
  check_finite(x);
  check_finite(y);
}

bool is_constant(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double value) { return value == values.front(); });
}

/// Pearson's correlation; 0 when a side has no spread.
double pearson(std::span<const double> x, std::span<const double> y) {
  if (is_constant(x) || is_constant(y)) return 0;
  const double n = static_cast<double>(x.size());
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) mean_x += x[i] / n, mean_y += y[i] / n;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

/// Two-sided p of a correlation whose t has these degrees of freedom; 1 when there are none.
double correlation_p(double r, double degrees) {
  if (degrees <= 0) return 1;
  if (std::abs(r) == 1) return 0;
  return t_two_sided(r * std::sqrt(degrees / ((1 - r) * (1 + r))), degrees);
}

/// Sums over groups of t equal values: of t (t - 1) / 2 pairs, and the two sums of the variance.
struct Ties {
  double pairs = 0, cubic = 0, quintic = 0;  // t (t-1) / 2, t (t-1) (t-2), t (t-1) (2 t + 5)
  void add(double t) {
    pairs += t * (t - 1) / 2;
    cubic += t * (t - 1) * (t - 2);
    quintic += t * (t - 1) * (2 * t + 5);
  }
};

/// Of n items in an order that has equal ones side by side.
template <typename Equal>
Ties ties(size_t n, Equal equal) {
  Ties sums;
  for (size_t first = 0, last; first < n; first = last) {
    for (last = first + 1; last < n && equal(first, last);) ++last;
    sums.add(static_cast<double>(last - first));
  }
  return sums;
}

/// Sorts the values and returns how many pairs stood in descending order (merge sort).
double sort_counting_inversions(std::span<double> values, std::span<double> buffer) {
  if (values.size() < 2) return 0;
  const size_t half = values.size() / 2;
  double inversions = sort_counting_inversions(values.first(half), buffer.first(half)) + sort_counting_inversions(values.subspan(half), buffer.subspan(half));
  for (size_t left = 0, right = half, out = 0; out < values.size(); ++out) {
    const bool take_right = left == half || (right < values.size() && values[right] < values[left]);
    if (take_right) inversions += static_cast<double>(half - left);
    buffer[out] = values[take_right ? right++ : left++];
  }
  std::copy(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(values.size()), values.begin());
  return inversions;
}

}  // namespace

std::vector<double> mean_ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    for (size_t i = first; i <= last; ++i) ranks[order[i]] = static_cast<double>(first + last) / 2 + 1;
    first = last + 1;
  }
  return ranks;
}

KendallCorrelation kendall_tau_b(std::span<const double> x, std::span<const double> y) {
  check_pairs(x, y);
  if (x.size() < 2 || is_constant(x) || is_constant(y)) return {};
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return x[i] != x[j] ? x[i] < x[j] : y[i] < y[j]; });
  const Ties in_x = ties(order.size(), [&](size_t i, size_t j) { return x[order[i]] == x[order[j]]; });
  const Ties in_both = ties(order.size(), [&](size_t i, size_t j) { return x[order[i]] == x[order[j]] && y[order[i]] == y[order[j]]; });
  std::vector<double> sorted, buffer(x.size());
  for (const size_t i : order) sorted.push_back(y[i]);
  const double discordant = sort_counting_inversions(sorted, buffer);
  const Ties in_y = ties(sorted.size(), [&](size_t i, size_t j) { return sorted[i] == sorted[j]; });
  const double n = static_cast<double>(x.size()), pairs = n * (n - 1) / 2;
  const double excess = pairs - in_x.pairs - in_y.pairs + in_both.pairs - 2 * discordant;  // concordant - discordant
  const double tau = excess / std::sqrt(pairs - in_x.pairs) / std::sqrt(pairs - in_y.pairs);
  double variance = (n * (n - 1) * (2 * n + 5) - in_x.quintic - in_y.quintic) / 18 + in_x.pairs * in_y.pairs / pairs;
  if (n > 2) variance += in_x.cubic * in_y.cubic / (18 * pairs * (n - 2));
  return {std::clamp(tau, -1.0, 1.0), normal_two_sided(excess / std::sqrt(variance))};
}

FisherZ fisher_z(double r, int64_t n_pairs, CorrelationKind kind) {
  ENTRAIN_CHECK(r >= -1 && r <= 1, "a correlation of " + std::to_string(r));
  ENTRAIN_CHECK(n_pairs > (kind == CorrelationKind::kKendall ? 4 : 3), std::to_string(n_pairs) + " pairs");
  const double n = static_cast<double>(n_pairs);
  const bool kendall = kind == CorrelationKind::kKendall;
  const double largest = std::min(1 - (kendall ? 2 / (n * (n - 1)) : 6 / (n * (n * n - 1))), std::nextafter(1.0, 0.0));
  const double z = std::atanh(std::clamp(r, -largest, largest));
  if (kendall) return {z, 0.437 / (n - 4)};
  return {z, (kind == CorrelationKind::kSpearman ? 1 + r * r / 2 : 1) / (n - 3)};
}

Interval correlation_interval(double r, int64_t n, CorrelationKind kind, double confidence) {
  const double width = normal_half_width(confidence);
  if (n <= (kind == CorrelationKind::kKendall ? 4 : 3)) return {r, -1, 1};
  const FisherZ fisher = fisher_z(r, n, kind);
  const double half = width * std::sqrt(fisher.variance);
  // Where |r| = 1 counted as less, the limit is drawn out to r itself.
  return {r, std::min(r, std::tanh(fisher.z - half)), std::max(r, std::tanh(fisher.z + half))};
}

Interval spearman_interval(std::span<const double> x, std::span<const double> y, double confidence) {
  const double rho = spearman(x, y).rho;
  if (x.size() < 3 || is_constant(x) || is_constant(y)) return {0, -1, 1};
  return correlation_interval(rho, static_cast<int64_t>(x.size()), CorrelationKind::kSpearman, confidence);
}

PartialCorrelation partial_spearman(std::span<const double> x, std::span<const double> y, std::span<const double> given, double confidence) {
  check_pairs(x, y);
  check_pairs(x, given);
  check_confidence(confidence);
  PartialCorrelation partial{{0, -1, 1}, 1};
  if (x.size() < 4 || is_constant(x) || is_constant(y)) return partial;
  const auto ranks_x = mean_ranks(x), ranks_y = mean_ranks(y), ranks_given = mean_ranks(given);
  const double xy = pearson(ranks_x, ranks_y), x_given = pearson(ranks_x, ranks_given), y_given = pearson(ranks_y, ranks_given);
  const double left_x = (1 - x_given) * (1 + x_given), left_y = (1 - y_given) * (1 + y_given);
  if (std::min(left_x, left_y) < 1e-12) return partial;  // rounding alone
  const double rho = std::clamp((xy - x_given * y_given) / std::sqrt(left_x * left_y), -1.0, 1.0);
  const int64_t n = static_cast<int64_t>(x.size());
  return {correlation_interval(rho, n - 1, CorrelationKind::kSpearman, confidence), correlation_p(rho, static_cast<double>(n - 3))};
}

CorrelationRange point_biserial_range(std::span<const double> values, int64_t n_positive) {
  check_finite(values);
  const size_t n = values.size(), marked = static_cast<size_t>(n_positive);
  ENTRAIN_CHECK(n_positive >= 0 && marked <= n, std::to_string(n_positive) + " of " + std::to_string(n));
  std::vector<double> sorted(values.begin(), values.end()), on_smallest(n, 0.0), on_largest(n, 0.0);
  if (sorted.empty()) return {};
  std::sort(sorted.begin(), sorted.end());
  std::fill_n(on_smallest.begin(), marked, 1.0);
  std::fill_n(on_largest.rbegin(), marked, 1.0);
  return {pearson(sorted, on_smallest), pearson(sorted, on_largest)};
}

PointBiserial point_biserial(std::span<const double> values, std::span<const uint8_t> labels) {
  check_finite(values);
  check_labels(labels, values.size());
  if (values.empty()) return {};
  const std::vector<double> marks(labels.begin(), labels.end());
  const CorrelationRange range = point_biserial_range(values, std::accumulate(labels.begin(), labels.end(), int64_t{0}));
  // A correlation of 0 for want of spread has p 1 by the same formula.
  const double r = std::clamp(pearson(values, marks), range.lowest, range.highest);
  return {r, values.size() < 3 ? 1 : correlation_p(r, static_cast<double>(values.size()) - 2), range};
}

}  // namespace entrain::statistics
