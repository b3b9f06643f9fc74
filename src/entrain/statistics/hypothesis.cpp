#include "entrain/statistics/hypothesis.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "entrain/base/error.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/rank.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Mean and sd of finite differences; equal differences have sd 0 exactly.
struct Moments {
  double n, mean, sd;
};

Moments moments(std::span<const double> differences) {
  ENTRAIN_CHECK(!differences.empty(), "no differences");
  check_finite(differences);
  const double n = static_cast<double>(differences.size());
  const auto [smallest, largest] = std::minmax_element(differences.begin(), differences.end());
  if (*smallest == *largest) return {n, *smallest, 0};
  double mean = 0, squares = 0;
  for (const double d : differences) mean += d / n;
  for (const double d : differences) squares += (d - mean) * (d - mean);
  return {n, mean, std::sqrt(squares / (n - 1))};
}

/// Of the mean; all numbers for one difference.
Interval t_interval(const Moments& m, double confidence) {
  ENTRAIN_CHECK(confidence > 0 && confidence < 1, "confidence " + std::to_string(confidence));
  if (m.n < 2) return {m.mean, -kInfinity, kInfinity};
  const double half = boost::math::quantile(boost::math::complement(boost::math::students_t(m.n - 1), (1 - confidence) / 2)) * m.sd / std::sqrt(m.n);
  return {m.mean, m.mean - half, m.mean + half};
}

/// (mean - bound) in standard errors; 0 / 0 is 0.
double t_statistic(const Moments& m, double bound) {
  const double distance = m.mean - bound;
  if (m.sd == 0) return distance == 0 ? 0 : std::copysign(kInfinity, distance);
  return distance / (m.sd / std::sqrt(m.n));
}

/// All 2^n sums of +-values.
std::vector<double> signed_sums(std::span<const double> values) {
  std::vector<double> sums{0.0};
  for (const double value : values) {
    const size_t n = sums.size();
    for (size_t i = 0; i < n; ++i) {
      sums.push_back(sums[i] - value);
      sums[i] += value;
    }
  }
  return sums;
}

std::vector<size_t> ascending(std::span<const double> p_values) {
  for (const double p : p_values) ENTRAIN_CHECK(p >= 0 && p <= 1, "a p-value of " + std::to_string(p));
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p_values[i] < p_values[j]; });
  return order;
}

}  // namespace

PairedTTest paired_t_test(std::span<const double> differences, double confidence) {
  const Moments m = moments(differences);
  PairedTTest test{t_interval(m, confidence), m.sd, 0, m.n - 1, 1};
  if (m.n < 2) return test;
  test.t = t_statistic(m, 0);
  test.p = std::min(1.0, 2 * t_upper_tail(std::abs(test.t), test.degrees));
  return test;
}

SignFlipTest sign_flip_test(std::span<const double> differences, RandomStream random, int64_t n_resamples) {
  const Moments m = moments(differences);
  SignFlipTest test{m.mean, 1, 2 * std::pow(0.5, m.n), differences.size() <= kMaxExactSignFlips};
  double sum = 0, magnitude = 0;
  for (const double d : differences) {
    sum += d;
    magnitude += std::abs(d);
  }
  const double reached = std::abs(sum) - 1e-12 * magnitude;
  if (test.exact) {
    // Sums of the two halves' signs, every pair of them: each total is one rounding away from sums of at most ten terms.
    const auto left = signed_sums(differences.first(differences.size() / 2)), right = signed_sums(differences.subspan(differences.size() / 2));
    int64_t count = 0;
    for (const double l : left) {
      for (const double r : right) count += std::abs(l + r) >= reached;
    }
    test.p = static_cast<double>(count) * std::pow(0.5, m.n);
    return test;
  }
  ENTRAIN_CHECK(n_resamples > 0, "no resamples");
  int64_t count = 0;
  for (int64_t i = 0; i < n_resamples; ++i) {
    double total = 0;
    uint64_t signs = 0;
    for (size_t j = 0; j < differences.size(); ++j) {
      if (j % 64 == 0) signs = random.next_u64();
      total += (signs >> (j % 64)) & 1 ? differences[j] : -differences[j];
    }
    count += std::abs(total) >= reached;
  }
  const double draws = static_cast<double>(n_resamples);
  test.p = (static_cast<double>(count) + 1) / (draws + 1);
  test.smallest_p = std::max(test.smallest_p, 1 / (draws + 1));
  return test;
}

double mcnemar_exact(int64_t only_a, int64_t only_b) {
  ENTRAIN_CHECK(only_a >= 0 && only_b >= 0, std::to_string(only_a) + " and " + std::to_string(only_b) + " items");
  if (only_a + only_b == 0) return 1;
  const boost::math::binomial split(static_cast<double>(only_a + only_b), 0.5);
  return std::min(1.0, 2 * boost::math::cdf(split, static_cast<double>(std::min(only_a, only_b))));
}

double binomial_test(int64_t successes, int64_t n, double probability) {
  ENTRAIN_CHECK(successes >= 0 && successes <= n, std::to_string(successes) + " of " + std::to_string(n));
  ENTRAIN_CHECK(probability >= 0 && probability <= 1, "probability " + std::to_string(probability));
  const double mean = static_cast<double>(n) * probability;
  if (static_cast<double>(successes) == mean) return 1;
  if (probability == 0 || probability == 1) return 0;
  // Seen from the other outcome, the observed count is always the low side.
  if (static_cast<double>(successes) > mean) return binomial_test(n - successes, n, 1 - probability);
  const boost::math::binomial outcomes(static_cast<double>(n), probability);
  const double limit = boost::math::pdf(outcomes, static_cast<double>(successes)) * (1 + 1e-7);
  // Above the mean the probabilities fall: bisect for the first outcome no likelier than the one seen; n + 1 when there is none.
  int64_t low = static_cast<int64_t>(std::ceil(mean)), high = n + 1;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (boost::math::pdf(outcomes, static_cast<double>(middle)) <= limit) high = middle;
    else low = middle + 1;
  }
  const double tail = low > n ? 0 : boost::math::cdf(boost::math::complement(outcomes, static_cast<double>(low - 1)));
  return std::min(1.0, boost::math::cdf(outcomes, static_cast<double>(successes)) + tail);
}

Interval wilson_interval(int64_t successes, int64_t n, double confidence) {
  ENTRAIN_CHECK(successes >= 0 && successes <= n, std::to_string(successes) + " of " + std::to_string(n));
  ENTRAIN_CHECK(confidence > 0 && confidence < 1, "confidence " + std::to_string(confidence));
  if (n == 0) return {0.5, 0, 1};
  const double z = boost::math::quantile(boost::math::complement(boost::math::normal(), (1 - confidence) / 2));
  const double trials = static_cast<double>(n), share = static_cast<double>(successes) / trials, spread = z * z / trials;
  const double centre = (share + spread / 2) / (1 + spread);
  const double half = z / (1 + spread) * std::sqrt(share * (1 - share) / trials + spread / (4 * trials));
  return {share, successes == 0 ? 0 : centre - half, successes == n ? 1 : centre + half};
}

std::vector<double> holm(std::span<const double> p_values) {
  const auto order = ascending(p_values);
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, p_values[order[i]] * static_cast<double>(order.size() - i)));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

std::vector<double> benjamini_hochberg(std::span<const double> p_values) {
  const auto order = ascending(p_values);
  std::vector<double> adjusted(p_values.size());
  double smallest = 1;
  for (size_t i = order.size(); i-- > 0;) {
    smallest = std::min(smallest, p_values[order[i]] * static_cast<double>(order.size()) / static_cast<double>(i + 1));
    adjusted[order[i]] = smallest;
  }
  return adjusted;
}

EquivalenceTest equivalence_test(std::span<const double> differences, double low, double high, double alpha) {
  ENTRAIN_CHECK(low < high, std::to_string(low) + " to " + std::to_string(high));
  ENTRAIN_CHECK(alpha > 0 && alpha < 0.5, "alpha " + std::to_string(alpha));
  const Moments m = moments(differences);
  EquivalenceTest test{1, 1, 1, t_interval(m, 1 - 2 * alpha)};
  if (m.n < 2) return test;
  // With equal differences on a bound t is 0 / 0: not inside, so not equivalent.
  test.p_low = m.sd == 0 && m.mean <= low ? 1 : t_upper_tail(t_statistic(m, low), m.n - 1);
  test.p_high = m.sd == 0 && m.mean >= high ? 1 : t_upper_tail(-t_statistic(m, high), m.n - 1);
  test.p = std::max(test.p_low, test.p_high);
  return test;
}

RankCorrelation spearman(std::span<const double> x, std::span<const double> y) {
  ENTRAIN_CHECK(x.size() == y.size(), std::to_string(x.size()) + " and " + std::to_string(y.size()) + " values");
  check_finite(x);
  check_finite(y);
  if (x.size() < 3) return {};
  const auto ranks_x = mean_ranks(x), ranks_y = mean_ranks(y);
  const double n = static_cast<double>(x.size()), centre = (n + 1) / 2;
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (ranks_x[i] - centre) * (ranks_x[i] - centre);
    yy += (ranks_y[i] - centre) * (ranks_y[i] - centre);
    xy += (ranks_x[i] - centre) * (ranks_y[i] - centre);
  }
  if (xx == 0 || yy == 0) return {};
  const double rho = std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
  if (std::abs(rho) == 1) return {rho, 0};
  return {rho, std::min(1.0, 2 * t_upper_tail(std::abs(rho) * std::sqrt((n - 2) / ((1 - rho) * (1 + rho))), n - 2))};
}

}  // namespace entrain::statistics
