#pragma once
// Shares: how training runs divide their use over D parts (experts). A share has D >= 2 values >= 0 that sum to 1 within 1e-6 (the rest is
// divided out); the independent unit is the run. Ratios need logarithms, so where a function works on them a share of 0 counts as `zero` and
// the others are scaled down to make room (multiplicative replacement; Martin-Fernandez et al., 2003): state it when parts go unused.
// Anything else, also runs of different D or none, throws std::logic_error.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/statistics/hypothesis.h"
#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

using Share = std::vector<double>;

constexpr double kZeroShare = 5e-5;  ///< half an item of the 10,000 that usage is counted on

/// zero in (0, 1 / D). Positive shares stay as they are but for the scaling, even those below `zero`.
Share replace_zeros(std::span<const double> share, double zero = kZeroShare);

/// Isometric log-ratio coordinates (Egozcue et al., 2003): (D - 1), the i-th is sqrt(i / (i + 1)) ln(geometric mean of the first i / part i + 1).
/// Euclidean distance between them is Aitchison's between the shares.
std::vector<double> ilr(std::span<const double> share, double zero = kZeroShare);
Share ilr_inverse(std::span<const double> coordinates);

/// Distance of log-ratios (Aitchison, 1986); unbounded, and large wherever a share is near 0.
double aitchison_distance(std::span<const double> a, std::span<const double> b, double zero = kZeroShare);
/// Half the sum of |a - b|: the share of use that must move. In [0, 1].
double total_variation(std::span<const double> a, std::span<const double> b);

/// The centre of several runs.
struct MeanShare {
  std::vector<Interval> shares;  ///< one a part; the estimates sum to 1
  double metric_variance = 0;    ///< between runs: summed sample variances of the ilr coordinates (Pawlowsky-Glahn and Egozcue, 2001)
};

/// The mean in ilr coordinates taken back (geometric means, closed), with an interval by Student's t for each share on its own: the log
/// odds of the centre's share, linear in the runs' log-ratios (delta method), then back, so within [0, 1]. One run: intervals are [0, 1].
MeanShare mean_share(std::span<const Share> runs, double confidence = 0.95, double zero = kZeroShare);

/// Hotelling's one-sample T^2 (1931) on ilr coordinates.
struct PointTest {
  double t_squared = 0, f = 0;
  double degrees = 0, degrees_of_error = 0;  ///< of F: D - 1 and runs - D + 1
  double p = 1;                              ///< of "the centre of runs like these is `point`"
  bool singular = false;                     ///< the runs lie on a line or plane: nothing is tested, p 1 and t_squared 0
};

/// At least D runs. The result does not depend on the order of the parts. Runs that are all equal: p is 1 at `point` itself and otherwise
/// 0 with t_squared infinite.
PointTest hotelling_test(std::span<const Share> runs, std::span<const double> point, double zero = kZeroShare);

/// Whether each part's share lies within +-margin of a target: two one-sided t-tests a part over the runs' shares (not log-ratios), all of
/// which must reject, so that no correction is due (intersection-union; Berger, 1982).
struct ShareEquivalence {
  std::vector<EquivalenceTest> parts;  ///< of share - target; see hypothesis.h for one run and for equal runs
  double p = 1;                        ///< the largest: equivalent at level alpha when <= alpha
};

/// margin in (0, 1), alpha in (0, 0.5).
ShareEquivalence share_equivalence(std::span<const Share> runs, std::span<const double> target, double margin, double alpha = 0.05);

/// Probability that a share drawn uniformly from the simplex has every part within +-margin of the target: the volume of box and simplex by
/// inclusion and exclusion, exact. D <= 16, margin in (0, 1].
double chance_within(std::span<const double> target, double margin);

}  // namespace entrain::statistics
