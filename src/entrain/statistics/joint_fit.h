#pragma once
// One power law for several arms: L = E + B_arm * D^-beta, with an irreducible loss E >= 0 and an exponent beta that all arms share
// (Hoffmann et al., 2022, eq. 2 at a fixed model size). An arm's effective data multiplier against a reference is
// k = (B_arm / B_reference)^(-1 / beta): D of the arm is worth k D of the reference, at every loss.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/statistics/resampling.h"
#include "entrain/statistics/scaling.h"

namespace entrain::statistics {

constexpr double kMinBeta = 0.01, kMaxBeta = 3.0;  ///< where beta is looked for

/// The least-squares fit over all runs.
struct JointFit {
  /// Why the parameters are not identified; the gravest that applies.
  enum class Problem {
    kNone,
    kTooFewAmounts,      ///< no arm has three amounts: nothing was fitted, all numbers are 0
    kNoFall,             ///< some arm's loss does not fall with the amount: its coefficient is 0 and it has no multiplier
    kBetaAtBound,        ///< beta is kMinBeta or kMaxBeta
    kIrreducibleAtZero,  ///< E is 0: the runs do not bend enough to tell E from beta
  } problem = Problem::kNone;
  double irreducible = 0;            ///< E, nats per token
  double beta = 0;
  std::vector<double> coefficients;  ///< B of each arm, in nats per token times amount^beta
  double rmse = 0;                   ///< root mean square of the residuals over all runs, nats per token

  bool identified() const { return problem == Problem::kNone; }
  /// k of `arm` against `reference`; 0 when either has no coefficient.
  double multiplier(size_t arm, size_t reference) const;
};

/// Fits arms 0 .. n_arms - 1, each with at least one run; one arm alone is a plain power law. E and B are the non-negative least
/// squares for a given beta (variable projection; Golub and Pereyra, 1973); beta minimises what they leave, over a logarithmic grid,
/// then to full precision around its best point. Deterministic. Throws std::logic_error on an arm without runs, or as ScalingCells::from.
JointFit fit_joint(std::span<const ScalingPoint> points, size_t n_arms);

/// The fit with intervals.
struct JointBootstrap {
  JointFit fit;
  Interval irreducible, beta;
  std::vector<Interval> multipliers;  ///< of each arm against the reference; {0, 0, infinity} for one without a multiplier
  double share_unidentified = 0;      ///< of the resamples whose fit has a problem; they count as far as they have numbers
  bool single_runs = false;           ///< some cell has one run: the intervals are too narrow, without width if no cell has two
};

/// Percentile intervals by bootstrap over runs (ScalingCells::resampled_means), n_resamples >= 1. With kTooFewAmounts nothing is
/// resampled: E and beta have the interval {0, 0, infinity} and share_unidentified is 1.
JointBootstrap bootstrap_joint(std::span<const ScalingPoint> points, size_t n_arms, size_t reference_arm, int64_t n_resamples, RandomStream random, double confidence = 0.95);

}  // namespace entrain::statistics
