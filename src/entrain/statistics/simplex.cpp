#include "entrain/statistics/simplex.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "entrain/base/error.h"
#include "entrain/statistics/cholesky.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Share closed(std::span<const double> share) {
  ENTRAIN_CHECK(share.size() >= 2, std::to_string(share.size()) + " parts");
  check_finite(share);
  double sum = 0;
  for (const double part : share) {
    ENTRAIN_CHECK(part >= 0, "a share of " + std::to_string(part));
    sum += part;
  }
  ENTRAIN_CHECK(std::abs(sum - 1) <= 1e-6, "shares sum to " + std::to_string(sum));
  Share result(share.begin(), share.end());
  for (double& part : result) part /= sum;
  return result;
}

/// Softmax: the share whose log-ratios these are.
Share share_of_logs(std::span<const double> logs) {
  const double largest = *std::max_element(logs.begin(), logs.end());
  Share share;
  double sum = 0;
  for (const double value : logs) sum += share.emplace_back(std::exp(value - largest));
  for (double& part : share) part /= sum;
  return share;
}

std::vector<double> logs_of(std::span<const double> share, double zero) {
  std::vector<double> logs = replace_zeros(share, zero);
  for (double& value : logs) value = std::log(value);
  return logs;
}

void check_runs(std::span<const Share> runs) {
  ENTRAIN_CHECK(!runs.empty(), "no runs");
  for (const Share& run : runs) ENTRAIN_CHECK(run.size() == runs[0].size(), std::to_string(run.size()) + " and " + std::to_string(runs[0].size()) + " parts");
}

/// One column a coordinate.
std::vector<std::vector<double>> ilr_columns(std::span<const Share> runs, double zero) {
  std::vector<std::vector<double>> columns(runs[0].size() - 1);
  for (const Share& run : runs) {
    const std::vector<double> coordinates = ilr(run, zero);
    for (size_t j = 0; j < columns.size(); ++j) columns[j].push_back(coordinates[j]);
  }
  return columns;
}

}  // namespace

Share replace_zeros(std::span<const double> share, double zero) {
  Share result = closed(share);
  const double n_parts = static_cast<double>(result.size()), n_zeros = static_cast<double>(std::count(result.begin(), result.end(), 0.0));
  ENTRAIN_CHECK(zero > 0 && zero * n_parts < 1, "zero counts as " + std::to_string(zero));
  for (double& part : result) part = part == 0 ? zero : part * (1 - n_zeros * zero);
  return result;
}

std::vector<double> ilr(std::span<const double> share, double zero) {
  const std::vector<double> logs = logs_of(share, zero);
  std::vector<double> coordinates;
  double sum = 0;
  for (size_t i = 1; i < logs.size(); ++i) {
    sum += logs[i - 1];
    const double n = static_cast<double>(i);
    coordinates.push_back(std::sqrt(n / (n + 1)) * (sum / n - logs[i]));
  }
  return coordinates;
}

Share ilr_inverse(std::span<const double> coordinates) {
  ENTRAIN_CHECK(!coordinates.empty(), "no coordinates");
  check_finite(coordinates);
  std::vector<double> logs{0.0};
  double sum = 0;
  for (size_t i = 1; i <= coordinates.size(); ++i) {
    const double n = static_cast<double>(i);
    logs.push_back(sum / n - coordinates[i - 1] * std::sqrt((n + 1) / n));
    sum += logs.back();
  }
  return share_of_logs(logs);
}

double aitchison_distance(std::span<const double> a, std::span<const double> b, double zero) {
  const std::vector<double> x = ilr(a, zero), y = ilr(b, zero);
  ENTRAIN_CHECK(x.size() == y.size(), std::to_string(a.size()) + " and " + std::to_string(b.size()) + " parts");
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
  return std::sqrt(squares);
}

double total_variation(std::span<const double> a, std::span<const double> b) {
  const Share x = closed(a), y = closed(b);
  ENTRAIN_CHECK(x.size() == y.size(), std::to_string(x.size()) + " and " + std::to_string(y.size()) + " parts");
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += std::abs(x[i] - y[i]);
  return std::min(1.0, sum / 2);
}

MeanShare mean_share(std::span<const Share> runs, double confidence, double zero) {
  check_runs(runs);
  check_confidence(confidence);
  const size_t n_parts = runs[0].size();
  const double n = static_cast<double>(runs.size());
  std::vector<std::vector<double>> logs;
  std::vector<double> mean_logs(n_parts, 0.0);
  for (const Share& run : runs) {
    logs.push_back(logs_of(run, zero));
    for (size_t j = 0; j < n_parts; ++j) mean_logs[j] += logs.back()[j] / n;
  }
  const Share centre = share_of_logs(mean_logs);
  MeanShare result;
  for (size_t j = 0; j < n_parts; ++j) {
    // Gradient of the log odds of part j: 1 for its own logarithm, for the others minus their share among the others.
    double others = 0;  // not 1 - centre[j], which is lost to rounding where j takes nearly all
    for (size_t k = 0; k < n_parts; ++k) others += k == j ? 0 : centre[k];
    std::vector<double> tangents(runs.size(), 0.0);
    for (size_t s = 0; s < runs.size(); ++s) {
      for (size_t k = 0; k < n_parts; ++k) tangents[s] += k == j ? logs[s][k] : -centre[k] / others * logs[s][k];
    }
    const Interval linear = paired_t_test(tangents, confidence).mean;
    const double log_odds = std::log(centre[j] / others);
    const auto back = [&](double limit) { return 1 / (1 + std::exp(-(log_odds + limit - linear.estimate))); };
    result.shares.push_back({centre[j], back(linear.low), back(linear.high)});
  }
  for (const auto& column : ilr_columns(runs, zero)) {
    const double sd = paired_t_test(column).sd;
    result.metric_variance += sd * sd;
  }
  return result;
}

PointTest hotelling_test(std::span<const Share> runs, std::span<const double> point, double zero) {
  check_runs(runs);
  ENTRAIN_CHECK(point.size() == runs[0].size() && runs.size() >= point.size(), std::to_string(runs.size()) + " runs, " + std::to_string(point.size()) + " parts of the point");
  const auto columns = ilr_columns(runs, zero);
  const std::vector<double> expected = ilr(point, zero);
  const size_t p = columns.size();
  const double n = static_cast<double>(runs.size()), dimensions = static_cast<double>(p);
  PointTest test{0, 0, dimensions, n - dimensions, 1, false};
  std::vector<double> sd(p), distance(p), correlation(p * p, 0.0);
  for (size_t a = 0; a < p; ++a) {
    const PairedTTest column = paired_t_test(columns[a]);
    sd[a] = column.sd;
    distance[a] = column.mean.estimate - expected[a];
    // Coordinates that differ by rounding alone have no spread.
    if (column.sd <= 1e-12 * (1 + std::abs(column.mean.estimate))) sd[a] = 0;
  }
  if (std::all_of(sd.begin(), sd.end(), [](double value) { return value == 0; })) {
    if (std::all_of(distance.begin(), distance.end(), [](double d) { return std::abs(d) <= 1e-9; })) return test;
    test.t_squared = test.f = kInfinity;
    test.p = 0;
    return test;
  }
  for (size_t a = 0; a < p; ++a) {
    for (size_t b = 0; b <= a; ++b) {
      for (size_t s = 0; s < runs.size(); ++s) correlation[a * p + b] += (columns[a][s] - distance[a] - expected[a]) * (columns[b][s] - distance[b] - expected[b]);
      correlation[a * p + b] = sd[a] > 0 && sd[b] > 0 ? correlation[a * p + b] / (n - 1) / sd[a] / sd[b] : 0;
    }
    distance[a] = sd[a] > 0 ? distance[a] / sd[a] : 0;
  }
  const Cholesky factor(correlation, p);
  test.singular = factor.smallest_pivot() < 1e-10;
  if (test.singular) return test;
  const std::vector<double> solved = factor.solve(distance);
  test.t_squared = n * std::inner_product(solved.begin(), solved.end(), distance.begin(), 0.0);
  test.f = test.t_squared * test.degrees_of_error / (dimensions * (n - 1));
  test.p = f_upper_tail(test.f, test.degrees, test.degrees_of_error);
  return test;
}

ShareEquivalence share_equivalence(std::span<const Share> runs, std::span<const double> target, double margin, double alpha) {
  check_runs(runs);
  const Share aim = closed(target);
  ENTRAIN_CHECK(aim.size() == runs[0].size(), std::to_string(aim.size()) + " parts of the target");
  ENTRAIN_CHECK(margin > 0 && margin < 1, "margin " + std::to_string(margin));
  std::vector<std::vector<double>> differences(aim.size());
  for (const Share& run : runs) {
    const Share share = closed(run);
    for (size_t j = 0; j < aim.size(); ++j) differences[j].push_back(share[j] - aim[j]);
  }
  ShareEquivalence result{{}, 0};
  for (const auto& part : differences) {
    result.parts.push_back(equivalence_test(part, -margin, margin, alpha));
    result.p = std::max(result.p, result.parts.back().p);
  }
  return result;
}

double chance_within(std::span<const double> target, double margin) {
  const Share aim = closed(target);
  ENTRAIN_CHECK(aim.size() <= 16, std::to_string(aim.size()) + " parts");
  ENTRAIN_CHECK(margin > 0 && margin <= 1, "margin " + std::to_string(margin));
  // P(part j >= a_j for all j) = (1 - sum a)^(D - 1); the box is the alternating sum over which parts stand at their upper limit.
  double volume = 0;
  for (uint32_t upper = 0; upper < 1u << aim.size(); ++upper) {
    double rest = 1, sign = 1;
    for (size_t j = 0; j < aim.size(); ++j) {
      const bool at_upper = upper >> j & 1;
      rest -= at_upper ? aim[j] + margin : std::max(0.0, aim[j] - margin);
      if (at_upper) sign = -sign;
    }
    if (rest > 0) volume += sign * std::pow(rest, static_cast<double>(aim.size() - 1));
  }
  return std::clamp(volume, 0.0, 1.0);
}

}  // namespace entrain::statistics
