#pragma once
// One number from several families, sites or runs, each with its own estimate and variance: the families differ for real, so their mean
// is a random effect and its interval speaks of families like these.

#include <cstdint>
#include <span>

#include "entrain/statistics/rank.h"
#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

/// The mean over families.
struct RandomEffects {
  Interval mean;
  double se = 0;           ///< of the mean
  double degrees = 0;      ///< of freedom of Student's t, families - 1
  double p = 1;            ///< two-sided, of mean 0
  double tau_squared = 0;  ///< variance between families
  double q = 0;            ///< Cochran's Q (1954), chi-squared with `degrees` when all families have the same mean
  double p_same = 1;       ///< of that
  double i_squared = 0;    ///< share of the spread that is between families, in [0, 1) (Higgins and Thompson, 2002)
};

/// tau_squared by moments (DerSimonian and Laird, 1986), the interval by Hartung and Knapp (2001) with their variance never taken below
/// the one of the weights (factor max(1, q), Roever, Knapp and Friede, 2015): families that agree by chance do not shrink it to nothing.
/// estimates: not empty, finite; variances: as many, > 0. One family: the interval is all numbers, p is 1.
/// Throws std::logic_error otherwise.
RandomEffects random_effects(std::span<const double> estimates, std::span<const double> variances, double confidence = 0.95);

/// The correlation of one family.
struct FamilyCorrelation {
  double r = 0;
  int64_t n = 0;  ///< pairs behind it
};

struct PooledCorrelation {
  Interval r;            ///< back from Fisher's z
  RandomEffects z;       ///< what was pooled; of its numbers only p, q, p_same and i_squared have no unit
  int64_t n_pooled = 0;  ///< families; the others had too few pairs for a variance
};

/// Random effects of fisher_z(). No family with a variance: r is {0, -1, 1}, p 1.
PooledCorrelation pool_correlations(std::span<const FamilyCorrelation> families, CorrelationKind kind, double confidence = 0.95);

}  // namespace entrain::statistics
