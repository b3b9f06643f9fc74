#include "entrain/statistics/regression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>

#include "entrain/base/error.h"
#include "entrain/statistics/cholesky.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLeastPivot = 1e-3;

double mean_of(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()); }

bool is_constant(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double value) { return value == values.front(); });
}

/// Columns (the intercept first) with mean 0 and sd 1; a constant one is 0 throughout.
struct Design {
  std::vector<std::vector<double>> columns;
  std::vector<double> mean, sd;

  Design(std::span<const std::vector<double>> given, size_t n) : columns{std::vector<double>(n, 1.0)}, mean{0}, sd{1} {
    for (const auto& column : given) {
      ENTRAIN_CHECK(column.size() == n, std::to_string(column.size()) + " values of " + std::to_string(n) + " items");
      check_finite(column);
      const double centre = mean_of(column);
      double squares = 0;
      for (const double value : column) squares += (value - centre) * (value - centre);
      const bool constant = is_constant(column);
      mean.push_back(constant ? column.front() : centre);
      sd.push_back(constant ? 1 : std::sqrt(squares / static_cast<double>(n)));
      columns.emplace_back();
      for (const double value : column) columns.back().push_back((value - mean.back()) / sd.back());
    }
  }
  size_t n_items() const { return columns[0].size(); }
  size_t n_columns() const { return columns.size(); }
};

/// ln(1 + e^x) without overflow.
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

std::vector<double> linear_part(const Design& design, const std::vector<double>& beta) {
  std::vector<double> eta(design.n_items(), 0.0);
  for (size_t j = 0; j < beta.size(); ++j) {
    for (size_t i = 0; i < eta.size(); ++i) eta[i] += beta[j] * design.columns[j][i];
  }
  return eta;
}

double log_likelihood(const std::vector<double>& eta, std::span<const uint8_t> labels) {
  double sum = 0;
  for (size_t i = 0; i < eta.size(); ++i) sum -= softplus(labels[i] ? -eta[i] : eta[i]);
  return sum;
}

double penalty(const std::vector<double>& beta) { return kLogisticRidge / 2 * std::inner_product(beta.begin(), beta.end(), beta.begin(), 0.0); }

/// Gradient and negated Hessian of the penalised likelihood.
struct Curvature {
  std::vector<double> gradient, information;
};

Curvature curvature(const Design& design, const std::vector<double>& beta, std::span<const uint8_t> labels) {
  const size_t k = design.n_columns();
  const std::vector<double> eta = linear_part(design, beta);
  Curvature at{std::vector<double>(k), std::vector<double>(k * k)};
  for (size_t a = 0; a < k; ++a) {
    at.gradient[a] = -kLogisticRidge * beta[a];
    at.information[a * k + a] = kLogisticRidge;
  }
  for (size_t i = 0; i < eta.size(); ++i) {
    // Both tails from their own side, so that neither is lost to rounding.
    const double p = 1 / (1 + std::exp(-eta[i])), q = 1 / (1 + std::exp(eta[i])), residual = labels[i] ? q : -p;
    for (size_t a = 0; a < k; ++a) {
      at.gradient[a] += residual * design.columns[a][i];
      for (size_t b = 0; b <= a; ++b) at.information[a * k + b] += p * q * design.columns[a][i] * design.columns[b][i];
    }
  }
  return at;
}

std::vector<double> newton(const Design& design, std::span<const uint8_t> labels) {
  std::vector<double> beta(design.n_columns(), 0.0);
  double value = log_likelihood(linear_part(design, beta), labels);
  for (int iteration = 0; iteration < 200; ++iteration) {
    const Curvature at = curvature(design, beta, labels);
    const std::vector<double> step = Cholesky(at.information, beta.size()).solve(at.gradient);
    const double promise = std::inner_product(step.begin(), step.end(), at.gradient.begin(), 0.0);
    if (promise < 1e-18) break;
    double length = 1, reached = value;
    std::vector<double> next;
    for (; length > 1e-9; length /= 2) {
      next = beta;
      for (size_t a = 0; a < beta.size(); ++a) next[a] += length * step[a];
      reached = log_likelihood(linear_part(design, next), labels) - penalty(next);
      // Near the top the likelihood's own rounding hides the gain: a full step is then right.
      if (reached >= value || promise < 1e-9) break;
    }
    if (length <= 1e-9) break;
    beta = std::move(next);
    value = reached;
  }
  return beta;
}

}  // namespace

LineFit fit_line(std::span<const double> x, std::span<const double> y, double confidence) {
  ENTRAIN_CHECK(x.size() == y.size(), std::to_string(x.size()) + " and " + std::to_string(y.size()) + " values");
  check_finite(x);
  check_finite(y);
  check_confidence(confidence);
  LineFit fit{{0, -kInfinity, kInfinity}};
  if (x.empty()) return fit;
  const double n = static_cast<double>(x.size()), mean_x = mean_of(x), mean_y = mean_of(y);
  fit.intercept = mean_y;
  if (n < 3 || is_constant(x)) return fit;
  double xx = 0, xy = 0, yy = 0, left = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    size += y[i] * y[i];
  }
  const double slope = xy / xx;
  fit.intercept = mean_y - slope * mean_x;
  for (size_t i = 0; i < x.size(); ++i) {
    const double residual = y[i] - mean_y - slope * (x[i] - mean_x);
    left += residual * residual;
  }
  if (left <= 1e-28 * size) left = 0;  // rounding alone: the points lie on a line
  fit.r_squared = is_constant(y) ? 0 : std::clamp(1 - left / yy, 0.0, 1.0);
  fit.se = std::sqrt(left / (n - 2) / xx);
  const double half = t_half_width(confidence, n - 2) * fit.se;
  fit.slope = {slope, slope - half, slope + half};
  const auto p_of = [&](double value) {
    if (fit.se == 0) return std::abs(slope - value) <= 1e-12 ? 1.0 : 0.0;
    return t_two_sided((slope - value) / fit.se, n - 2);
  };
  fit.p_zero = p_of(0);
  fit.p_one = p_of(1);
  return fit;
}

LogisticFit fit_logistic(std::span<const std::vector<double>> columns, std::span<const uint8_t> labels) {
  ENTRAIN_CHECK(!labels.empty(), "no items");
  check_labels(labels, labels.size());
  const Design design(columns, labels.size());
  const std::vector<double> beta = newton(design, labels);
  const size_t k = beta.size();
  const Cholesky information(curvature(design, beta, labels).information, k);
  LogisticFit fit;
  fit.intercept = beta[0];
  fit.log_likelihood = std::min(0.0, log_likelihood(linear_part(design, beta), labels));
  fit.determined = information.smallest_pivot() > kLeastPivot;
  for (size_t j = 1; j < k; ++j) {
    std::vector<double> unit(k, 0.0);
    unit[j] = 1;
    fit.coefficients.push_back(beta[j] / design.sd[j]);
    fit.standard_errors.push_back(std::sqrt(information.solve(unit)[j]) / design.sd[j]);
    fit.intercept -= fit.coefficients.back() * design.mean[j];
  }
  return fit;
}

PartialInformation partial_information(std::span<const std::vector<double>> known, std::span<const double> added, std::span<const uint8_t> labels) {
  std::vector<std::vector<double>> columns(known.begin(), known.end());
  PartialInformation result;
  result.without = fit_logistic(columns, labels);
  columns.emplace_back(added.begin(), added.end());
  result.with = fit_logistic(columns, labels);
  result.chi_squared = std::max(0.0, 2 * (result.with.log_likelihood - result.without.log_likelihood));
  result.p = chi_squared_upper_tail(result.chi_squared, 1);
  result.nats_per_item = result.chi_squared / 2 / static_cast<double>(labels.size());
  return result;
}

PooledSlope pooled_logistic_slope(std::span<const double> x, std::span<const uint8_t> labels, std::span<const int64_t> family, double confidence) {
  check_finite(x);
  check_labels(labels, x.size());
  check_confidence(confidence);
  ENTRAIN_CHECK(family.size() == x.size(), std::to_string(family.size()) + " families of " + std::to_string(x.size()) + " items");
  std::map<int64_t, std::pair<std::vector<double>, std::vector<uint8_t>>> by_family;
  for (size_t i = 0; i < x.size(); ++i) {
    by_family[family[i]].first.push_back(x[i]);
    by_family[family[i]].second.push_back(labels[i]);
  }
  PooledSlope result;
  result.slope.mean = {0, -kInfinity, kInfinity};
  std::vector<double> slopes, variances;
  for (const auto& [number, items] : by_family) {
    const auto& [values, marks] = items;
    const LogisticFit fit = fit_logistic(std::span(&values, 1), marks);
    const double se = fit.standard_errors[0];
    result.families.push_back({number, static_cast<int64_t>(marks.size()), fit.coefficients[0], fit.determined ? se : 0, fit.determined});
    if (!fit.determined) {
      ++result.n_left_out;
      continue;
    }
    slopes.push_back(fit.coefficients[0]);
    variances.push_back(se * se);
  }
  if (!slopes.empty()) result.slope = random_effects(slopes, variances, confidence);
  return result;
}

}  // namespace entrain::statistics
