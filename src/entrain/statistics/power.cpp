#include "entrain/statistics/power.h"

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <string>

#include "entrain/base/error.h"

namespace entrain::statistics {
namespace {

/// Beyond this noncentrality (where Boost's series ends) the mean's own noise changes the power by less than 1 / shift^2 = 4e-10.
constexpr double kFarShift = 5e4;

struct NormalQuantiles {
  double alpha, power;  // z of 1 - alpha / 2 and of the power
};

void check(const TestDesign& design) {
  ENTRAIN_CHECK(design.alpha > 0 && design.alpha < design.power && design.power < 1, "alpha " + std::to_string(design.alpha) + ", power " + std::to_string(design.power));
}

NormalQuantiles quantiles(const TestDesign& design) {
  check(design);
  return {boost::math::quantile(boost::math::complement(boost::math::normal(), design.alpha / 2)), boost::math::quantile(boost::math::normal(), design.power)};
}

/// Rounds a number of items up, but not for the last bits of the quantiles.
int64_t items(double n) { return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(n * (1 - 1e-12)))); }

}  // namespace

double paired_t_power(double effect, double sd, int64_t n, double alpha) {
  ENTRAIN_CHECK(std::isfinite(effect) && std::isfinite(sd) && sd > 0, "effect " + std::to_string(effect) + ", sd " + std::to_string(sd));
  ENTRAIN_CHECK(n >= 2, std::to_string(n) + " pairs");
  ENTRAIN_CHECK(alpha > 0 && alpha < 1, "alpha " + std::to_string(alpha));
  const double degrees = static_cast<double>(n - 1), shift = std::abs(effect) / sd * std::sqrt(static_cast<double>(n));
  const double critical = boost::math::quantile(boost::math::complement(boost::math::students_t(degrees), alpha / 2));
  if (shift > kFarShift) {
    const double largest_spread = shift / critical;  // of the sample sd, in units of sd, that still rejects
    return boost::math::cdf(boost::math::chi_squared(degrees), degrees * largest_spread * largest_spread);
  }
  const boost::math::non_central_t statistic(degrees, shift);
  return std::min(1.0, boost::math::cdf(boost::math::complement(statistic, critical)) + boost::math::cdf(statistic, -critical));
}

int64_t paired_t_pairs(double effect, double sd, TestDesign design) {
  check(design);
  ENTRAIN_CHECK(std::abs(effect) >= 1e-6 * sd, "effect " + std::to_string(effect) + " at sd " + std::to_string(sd));
  const auto enough = [&](int64_t n) { return paired_t_power(effect, sd, n, design.alpha) >= design.power; };
  int64_t high = 2;
  while (!enough(high)) high *= 2;
  int64_t low = 2;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (enough(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

double paired_t_detectable_effect(double sd, int64_t n, TestDesign design) {
  check(design);
  const auto missing = [&](double effect) { return paired_t_power(effect * sd, sd, n, design.alpha) - design.power; };
  double high = 1;
  while (missing(high) < 0) high *= 2;
  std::uintmax_t n_iterations = 200;
  const auto bracket = boost::math::tools::toms748_solve(missing, 0.0, high, boost::math::tools::eps_tolerance<double>(50), n_iterations);
  return sd * (bracket.first + bracket.second) / 2;
}

int64_t mcnemar_items(double difference, double discordance, TestDesign design) {
  const double d = std::abs(difference);
  ENTRAIN_CHECK(d > 0 && d <= discordance && discordance <= 1, "difference " + std::to_string(difference) + " at discordance " + std::to_string(discordance));
  const NormalQuantiles z = quantiles(design);
  return items(std::pow((z.alpha * std::sqrt(discordance) + z.power * std::sqrt(discordance - d * d)) / d, 2));
}

int64_t paired_mean_items(double difference, double sd, TestDesign design) {
  ENTRAIN_CHECK(std::isfinite(difference) && difference != 0 && std::isfinite(sd) && sd > 0, "difference " + std::to_string(difference) + ", sd " + std::to_string(sd));
  const NormalQuantiles z = quantiles(design);
  return items(std::pow((z.alpha + z.power) * sd / difference, 2));
}

double proportion_detectable_difference(double proportion, int64_t n, double correlation, TestDesign design) {
  ENTRAIN_CHECK(proportion >= 0 && proportion <= 1, "proportion " + std::to_string(proportion));
  ENTRAIN_CHECK(n >= 1, std::to_string(n) + " items");
  ENTRAIN_CHECK(correlation >= -1 && correlation <= 1, "correlation " + std::to_string(correlation));
  const NormalQuantiles z = quantiles(design);
  return (z.alpha + z.power) * std::sqrt(2 * proportion * (1 - proportion) * (1 - correlation) / static_cast<double>(n));
}

}  // namespace entrain::statistics
