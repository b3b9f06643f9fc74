#pragma once
// Shares as counts of items: one run's counts against a share, and whether runs differ by more than counting them would make them.
// Counts >= 0, one a part, at least two parts; anything else throws std::logic_error.

#include <cstdint>
#include <span>
#include <vector>

namespace entrain::statistics {

using Counts = std::vector<int64_t>;

/// Likelihood-ratio test of counts against a share.
struct GTest {
  double g = 0;        ///< 2 sum of observed ln(observed / expected)
  double degrees = 0;  ///< of freedom: parts of positive share, less one
  double p = 1;        ///< chi-squared with `degrees`, a large-sample approximation: expected counts from some 5 up
  double w = 0;        ///< Cohen's effect size (1988), sqrt(sum (observed share - share)^2 / share); 0.1 small, 0.3 medium, 0.5 large
};

/// share: as simplex.h has it. Items in a part of share 0: g and w infinite, p 0. No items: g 0, w 0, p 1.
GTest g_test(std::span<const int64_t> counts, std::span<const double> share);

/// Runs' counts as draws from a Dirichlet-multinomial (Mosimann, 1962).
struct Overdispersion {
  std::vector<double> mean;  ///< share of each part over all items; sums to 1
  /// Chance that two items of a run go to the same part because of their run, in [0, 1]: 0 is multinomial, 1 a run that uses one part. By
  /// moments (Weir and Hill, 2002), no maximum likelihood; below 0 counts as 0.
  double rho = 0;
  double concentration = 0;  ///< of the Dirichlet, 1 / rho - 1; infinite at rho 0
  double chi_squared = 0;    ///< Pearson's, of "all runs have the same share"
  double degrees = 0;        ///< of freedom: (runs - 1) (used parts - 1)
  double p = 1;              ///< of multinomial counts, one-sided: small when runs differ too much; expected counts from some 5 up
};

/// At least one item in all; runs without items are left out. Fewer than two runs or used parts tell nothing: rho 0, p 1, degrees 0.
/// Runs of one item each show no over-dispersion: rho 0.
Overdispersion overdispersion(std::span<const Counts> runs);

}  // namespace entrain::statistics
