#pragma once
// Correlations of ranks and of a binary mark, their intervals, and what a correlation can reach. All lie in [-1, 1] and are never NaN.
// Input of unequal lengths, NaN or infinite throws std::logic_error. Too few pairs, or a side without spread, tell nothing: correlation
// 0, p 1 and the interval [-1, 1].

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

/// Ranks from 1; equal values share the mean of theirs.
std::vector<double> mean_ranks(std::span<const double> values);

/// Kendall's tau-b (Kendall, 1945): (concordant - discordant) / sqrt(pairs untied in x * pairs untied in y).
struct KendallCorrelation {
  double tau = 0;
  double p = 1;  ///< two-sided, by the normal approximation with the variance under ties (Kendall, 1970): coarse below some 10 pairs
};

/// Knight's algorithm (1966), n log n. At least two pairs.
KendallCorrelation kendall_tau_b(std::span<const double> x, std::span<const double> y);

enum class CorrelationKind { kPearson, kSpearman, kKendall };

/// atanh of a correlation and its variance.
struct FisherZ {
  double z = 0, variance = 0;
};

/// Variance 1 / (n - 3) for Pearson (Fisher, 1921), (1 + r^2 / 2) / (n - 3) for Spearman (Bonett and Wright, 2000), 0.437 / (n - 4) for
/// Kendall (Fieller, Hartley and Pearson, 1957); the last two are for values without many ties and |r| < 0.9. |r| = 1, where z is
/// infinite, counts as half a step of the rank statistic below 1: 1 - 6 / (n^3 - n), for Kendall 1 - 2 / (n (n - 1)).
/// r in [-1, 1]. Throws std::logic_error unless n > 3, for Kendall n > 4.
FisherZ fisher_z(double r, int64_t n, CorrelationKind kind);

/// The interval by Fisher's z; [-1, 1] where fisher_z() has no variance. It contains r.
Interval correlation_interval(double r, int64_t n, CorrelationKind kind, double confidence = 0.95);

/// Spearman's rho (hypothesis.h) with that interval.
Interval spearman_interval(std::span<const double> x, std::span<const double> y, double confidence = 0.95);

/// Correlation of the ranks of x and y once the ranks of a third variable are taken out of both by least squares.
struct PartialCorrelation {
  Interval rho;  ///< by Fisher's z with the variance (1 + rho^2 / 2) / (n - 4)
  double p = 1;  ///< two-sided, by Student's t with n - 3 degrees of freedom
};

/// Where the ranks of `given` equal those of x or y (or their reverse) nothing is left: rho 0, p 1.
PartialCorrelation partial_spearman(std::span<const double> x, std::span<const double> y, std::span<const double> given, double confidence = 0.95);

/// The correlations of least and greatest value.
struct CorrelationRange {
  double lowest = 0, highest = 0;
};

/// What Pearson's correlation of these values with a binary mark on n_positive of them can reach: the marks on the smallest values and on
/// the largest, exactly. 0 <= n_positive <= values; both 0 when the mark or the values have no spread.
CorrelationRange point_biserial_range(std::span<const double> values, int64_t n_positive);

/// Pearson's correlation of a value with a binary mark.
struct PointBiserial {
  double r = 0;
  double p = 1;             ///< two-sided, by Student's t with n - 2 degrees of freedom
  CorrelationRange within;  ///< what r could have been, at most, at the observed number of marks
};

/// labels: 0 or 1, one a value.
PointBiserial point_biserial(std::span<const double> values, std::span<const uint8_t> labels);

}  // namespace entrain::statistics
