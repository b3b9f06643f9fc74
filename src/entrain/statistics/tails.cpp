#include "entrain/statistics/tails.h"

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "entrain/statistics/contract.h"

namespace entrain::statistics {

using boost::math::cdf;
using boost::math::complement;
using boost::math::quantile;

double t_upper_tail(double t, double degrees) {
  if (std::isinf(t)) return t > 0 ? 0 : 1;
  return cdf(complement(boost::math::students_t(degrees), t));
}

double t_two_sided(double t, double degrees) { return std::min(1.0, 2 * t_upper_tail(std::abs(t), degrees)); }

double normal_two_sided(double z) { return std::erfc(std::abs(z) / std::sqrt(2.0)); }

double chi_squared_upper_tail(double x, double degrees) { return std::isinf(x) ? 0 : cdf(complement(boost::math::chi_squared(degrees), x)); }

double f_upper_tail(double x, double degrees, double degrees_of_error) {
  return std::isinf(x) ? 0 : cdf(complement(boost::math::fisher_f(degrees, degrees_of_error), x));
}

double t_half_width(double confidence, double degrees) {
  check_confidence(confidence);
  return quantile(complement(boost::math::students_t(degrees), (1 - confidence) / 2));
}

double normal_half_width(double confidence) {
  check_confidence(confidence);
  return quantile(complement(boost::math::normal(), (1 - confidence) / 2));
}

}  // namespace entrain::statistics
