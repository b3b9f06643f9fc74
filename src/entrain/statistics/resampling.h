#pragma once
// Percentile bootstrap of paired differences (Efron and Tibshirani, 1993, chapters 8 and 13): the units that are independent are
// drawn with replacement, both models' losses of a unit kept together. Dependent units (windows of one document, items of one
// template) belong into one unit: the caller sums them by cluster first.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/base/random.h"

namespace entrain::statistics {

/// An estimate with the limits of its confidence interval.
struct Interval {
  double estimate = 0, low = 0, high = 0;
  /// Whether `value` lies outside; a limit belongs to the interval.
  bool excludes(double value) const { return low > value || high < value; }
};

/// One independent unit: both models' losses (or correct answers) summed over the same tokens (or items), and their number.
struct PairedUnit {
  double a = 0, b = 0;
  double weight = 0;  ///< > 0
};

/// The interval between the (1 - confidence) / 2 and (1 + confidence) / 2 quantiles of resampled estimates, linear between order
/// statistics. resampled: not empty, finite. confidence: in (0, 1).
Interval percentile_interval(double estimate, std::vector<double> resampled, double confidence);

/// (sum a - sum b) / sum weight, and the percentile interval of n_resamples draws of as many units with replacement.
/// units: not empty. One unit has an interval without width: it tells nothing about the spread. Throws std::logic_error on empty
/// units, a weight that is not positive, n_resamples < 1 or a confidence outside (0, 1).
Interval paired_bootstrap(std::span<const PairedUnit> units, int64_t n_resamples, RandomStream random, double confidence = 0.95);

/// The same over several training seeds: each draw takes as many seeds with replacement, and as many units with replacement that are
/// the same ones for all its seeds, as all seeds are judged on the same text (crossed random effects; Owen, 2007). by_seed[s][u] is
/// unit u under seed s; all seeds must have the same units with the same weights. One seed equals paired_bootstrap in law: the spread
/// between seeds is then not in the interval. Throws std::logic_error as above, and when the seeds' units differ.
Interval nested_bootstrap(const std::vector<std::vector<PairedUnit>>& by_seed, int64_t n_resamples, RandomStream random, double confidence = 0.95);

}  // namespace entrain::statistics
