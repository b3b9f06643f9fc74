#include "entrain/statistics/joint_fit.h"

#include <algorithm>
#include <boost/math/tools/minima.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <limits>
#include <string>

#include "entrain/base/error.h"

namespace entrain::statistics {
namespace {

constexpr size_t kGridSize = 60;
/// An arm whose fitted fall between the smallest and the largest amount is below this share of its loss does not fall.
constexpr double kSmallestFall = 1e-12;

/// E and B at a given beta, with what they leave.
struct LinearFit {
  double irreducible = 0;
  std::vector<double> coefficients;  // for amounts in units of the scale
  double squares = 0;                // sum of runs * (residual of the cell's mean)^2
  double slope = 0;                  // d squares / d beta; E and B do not count, being at their minimum
};

/// The problem for given means of the cells: the same cells, weights and grid in every resample.
class Projection {
 public:
  Projection(const ScalingCells& cells, size_t n_arms) : n_arms_(n_arms) {
    double log_scale = 0;
    for (const ScalingCell& cell : cells.cells) log_scale += std::log(cell.amount) / static_cast<double>(cells.cells.size());
    scale_ = std::exp(log_scale);
    for (const ScalingCell& cell : cells.cells) {
      arms_.push_back(cell.arm);
      log_amounts_.push_back(std::log(cell.amount / scale_));
      weights_.push_back(static_cast<double>(cell.losses.size()));
    }
    for (size_t i = 0; i < kGridSize; ++i) {
      grid_.push_back(kMinBeta * std::pow(kMaxBeta / kMinBeta, static_cast<double>(i) / static_cast<double>(kGridSize - 1)));
      powers_.push_back(powers_at(grid_.back()));
    }
  }

  /// The fit to the cells' means, without rmse. polish: beta to full precision, not half of it.
  JointFit fit(const std::vector<double>& means, bool polish) const {
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < kGridSize; ++i) {
      const double squares = solve(means, powers_[i]).squares;
      if (squares < least) {
        least = squares;
        best = i;
      }
    }
    const double low = grid_[best > 0 ? best - 1 : 0], high = grid_[std::min(best + 1, kGridSize - 1)];
    const auto squares_at = [&](double beta) { return solve(means, powers_at(beta)).squares; };
    double beta = boost::math::tools::brent_find_minima(squares_at, low, high, 26).first;
    if (polish) beta = polished(means, beta);
    LinearFit linear = solve(means, powers_at(beta));
    const bool all_fall = drop_flat_arms(means, linear, beta);
    JointFit result;
    result.beta = beta;
    result.irreducible = linear.irreducible;
    for (const double b : linear.coefficients) result.coefficients.push_back(b * std::pow(scale_, beta));
    if (!all_fall) result.problem = JointFit::Problem::kNoFall;
    else if (beta < kMinBeta * (1 + 1e-5) || beta > kMaxBeta * (1 - 1e-5)) result.problem = JointFit::Problem::kBetaAtBound;
    else if (linear.irreducible == 0) result.problem = JointFit::Problem::kIrreducibleAtZero;
    return result;
  }

 private:
  std::vector<double> powers_at(double beta) const {
    std::vector<double> powers;
    for (const double log_amount : log_amounts_) powers.push_back(std::exp(-beta * log_amount));
    return powers;
  }

  /// A minimum by squares is known to half the digits only; the root of their slope to nearly all.
  double polished(const std::vector<double>& means, double beta) const {
    const auto slope_at = [&](double b) { return solve(means, powers_at(b)).slope; };
    const double low = std::max(kMinBeta, beta * (1 - 1e-5)), high = std::min(kMaxBeta, beta * (1 + 1e-5));
    if (!(slope_at(low) < 0 && slope_at(high) > 0)) return beta;
    std::uintmax_t n_iterations = 100;
    const auto root = boost::math::tools::toms748_solve(slope_at, low, high, boost::math::tools::eps_tolerance<double>(50), n_iterations);
    return (root.first + root.second) / 2;
  }

  /// Exact non-negative least squares of means on (1, powers of each arm). An arm's B is positive while E is below its breakpoint
  /// sum(x L) / sum(x x) / (sum(x) / sum(x x)); the squares left are convex in E, so E is the first stationary point that lies
  /// below the breakpoints of all arms still taken as positive.
  LinearFit solve(const std::vector<double>& means, const std::vector<double>& powers) const {
    struct Sums {
      double n = 0, x = 0, xx = 0, y = 0, xy = 0;
    };
    std::vector<Sums> sums(n_arms_);
    for (size_t i = 0; i < means.size(); ++i) {
      Sums& s = sums[arms_[i]];
      const double w = weights_[i], x = powers[i], y = means[i];
      s.n += w;
      s.x += w * x;
      s.xx += w * x * x;
      s.y += w * y;
      s.xy += w * x * y;
    }
    double numerator = 0, denominator = 0;
    std::vector<size_t> order;
    for (size_t arm = 0; arm < n_arms_; ++arm) {
      const Sums& s = sums[arm];
      order.push_back(arm);
      numerator += s.y - s.x * s.xy / s.xx;
      denominator += s.n - s.x * s.x / s.xx;
    }
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sums[a].xy / sums[a].x < sums[b].xy / sums[b].x; });
    LinearFit fit;
    fit.irreducible = numerator / denominator;
    for (const size_t arm : order) {
      const Sums& s = sums[arm];
      if (fit.irreducible <= s.xy / s.x) break;
      numerator += s.x * s.xy / s.xx;
      denominator += s.x * s.x / s.xx;
      fit.irreducible = numerator / denominator;
    }
    fit.irreducible = std::max(fit.irreducible, 0.0);
    for (const Sums& s : sums) fit.coefficients.push_back(std::max(0.0, (s.xy - fit.irreducible * s.x) / s.xx));
    for (size_t i = 0; i < means.size(); ++i) {
      const double law = fit.coefficients[arms_[i]] * powers[i], residual = means[i] - fit.irreducible - law;
      fit.squares += weights_[i] * residual * residual;
      fit.slope += 2 * weights_[i] * residual * law * log_amounts_[i];
    }
    return fit;
  }

  /// Sets coefficients that are mere rounding errors to 0; whether none is 0 then.
  bool drop_flat_arms(const std::vector<double>& means, LinearFit& linear, double beta) const {
    const auto [first, last] = std::minmax_element(log_amounts_.begin(), log_amounts_.end());
    const double range = std::exp(-beta * *first) - std::exp(-beta * *last);
    bool all_fall = true;
    for (size_t i = 0; i < means.size(); ++i) {
      double& coefficient = linear.coefficients[arms_[i]];
      if (coefficient * range <= kSmallestFall * std::abs(means[i])) {
        coefficient = 0;
        all_fall = false;
      }
    }
    return all_fall;
  }

  size_t n_arms_;
  double scale_;  // geometric mean of the amounts
  std::vector<size_t> arms_;
  std::vector<double> log_amounts_, weights_;  // of amount / scale; numbers of runs
  std::vector<double> grid_;
  std::vector<std::vector<double>> powers_;  // (amount / scale)^-beta at the grid's betas
};

/// Whether each arm has runs, and one of them at three amounts.
bool has_three_amounts(const ScalingCells& cells, size_t n_arms) {
  std::vector<size_t> n_amounts(n_arms);
  for (const ScalingCell& cell : cells.cells) {
    ENTRAIN_CHECK(cell.arm < n_arms, "arm " + std::to_string(cell.arm) + " of " + std::to_string(n_arms));
    ++n_amounts[cell.arm];
  }
  ENTRAIN_CHECK(*std::min_element(n_amounts.begin(), n_amounts.end()) > 0, "an arm without runs");
  return *std::max_element(n_amounts.begin(), n_amounts.end()) >= 3;
}

double rmse(const ScalingCells& cells, const JointFit& fit) {
  double squares = 0, n_runs = 0;
  for (const ScalingCell& cell : cells.cells) {
    const double expected = fit.irreducible + fit.coefficients[cell.arm] * std::pow(cell.amount, -fit.beta);
    for (const double loss : cell.losses) squares += (loss - expected) * (loss - expected);
    n_runs += static_cast<double>(cell.losses.size());
  }
  return std::sqrt(squares / n_runs);
}

JointFit too_few_amounts(size_t n_arms) {
  JointFit fit;
  fit.problem = JointFit::Problem::kTooFewAmounts;
  fit.coefficients.assign(n_arms, 0.0);
  return fit;
}

}  // namespace

double JointFit::multiplier(size_t arm, size_t reference) const {
  const double b = coefficients.at(arm), reference_b = coefficients.at(reference);
  if (!(b > 0 && reference_b > 0)) return 0;
  return std::exp(std::clamp(-std::log(b / reference_b) / beta, -230.0, 230.0));  // within 100 decades, so never infinite
}

JointFit fit_joint(std::span<const ScalingPoint> points, size_t n_arms) {
  const ScalingCells cells = ScalingCells::from(points);
  if (!has_three_amounts(cells, n_arms)) return too_few_amounts(n_arms);
  JointFit fit = Projection(cells, n_arms).fit(cells.means(), true);
  fit.rmse = rmse(cells, fit);
  return fit;
}

JointBootstrap bootstrap_joint(std::span<const ScalingPoint> points, size_t n_arms, size_t reference_arm, int64_t n_resamples, RandomStream random, double confidence) {
  ENTRAIN_CHECK(n_resamples > 0 && reference_arm < n_arms, std::to_string(n_resamples) + " resamples, reference " + std::to_string(reference_arm));
  const ScalingCells cells = ScalingCells::from(points);
  JointBootstrap result;
  result.fit = fit_joint(points, n_arms);
  result.single_runs = cells.single_runs;
  std::vector<std::vector<double>> multipliers(n_arms);
  std::vector<double> irreducible, beta;
  if (result.fit.problem == JointFit::Problem::kTooFewAmounts) {
    result.share_unidentified = 1;
  } else {
    const Projection projection(cells, n_arms);
    for (int64_t draw = 0; draw < n_resamples; ++draw) {
      const JointFit fit = projection.fit(cells.resampled_means(random), false);
      if (!fit.identified()) result.share_unidentified += 1 / static_cast<double>(n_resamples);
      irreducible.push_back(fit.irreducible);
      beta.push_back(fit.beta);
      for (size_t arm = 0; arm < n_arms; ++arm) {
        const double k = fit.multiplier(arm, reference_arm);
        if (k > 0) multipliers[arm].push_back(k);
      }
    }
  }
  const auto interval = [&](double estimate, std::vector<double>& resampled) {
    if (resampled.empty()) return Interval{estimate, 0, std::numeric_limits<double>::infinity()};
    return percentile_interval(estimate, std::move(resampled), confidence);
  };
  result.irreducible = interval(result.fit.irreducible, irreducible);
  result.beta = interval(result.fit.beta, beta);
  for (size_t arm = 0; arm < n_arms; ++arm) result.multipliers.push_back(interval(result.fit.multiplier(arm, reference_arm), multipliers[arm]));
  return result;
}

}  // namespace entrain::statistics
