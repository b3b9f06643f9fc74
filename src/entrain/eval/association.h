#pragma once
// Association of two sets of targets with two sets of attributes (WEAT, Caliskan et al. 2017; SEAT, May et al. 2019), and a line through points.

#include <span>
#include <vector>

namespace entrain::eval {

struct Association {
  double effect_size = 0;     ///< d: difference of mean associations over their standard deviation
  double p_value = 1;         ///< one-sided: re-partitions of the targets that associate at least as strongly
  double null_deviation = 0;  ///< standard deviation of d over the re-partitions
};

/// s(w) = mean cos(w, A) - mean cos(w, B); d = (mean s(X) - mean s(Y)) / sd of s over both, n - 1. All partitions where there are at most
/// 10,000, else 10,000 drawn ones (a fixed stream), the one seen counted among them. Sets: n x width, row-major, n >= 2.
Association associate(std::span<const float> x, std::span<const float> y, std::span<const float> a, std::span<const float> b, size_t width);

struct Line {
  double slope = 0, slope_error = 0, correlation = 0, correlation_error = 0;
  bool distinguishable = false;  ///< from no relation, two-sided at 5 % (Fisher's z)
};

/// Least squares of y on x. Fewer than four points, or equal x or y: zeros.
Line fit_line(std::span<const double> x, std::span<const double> y);

}  // namespace entrain::eval
