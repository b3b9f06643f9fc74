#pragma once
// Data efficiency from separate, fully decayed training runs at several amounts (tokens, FLOPs or seconds, one of them throughout):
// how much one arm (recipe) needs for a loss that another reaches. Never from one run's curve, whose learning rate has not decayed.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

/// One finished run.
struct ScalingPoint {
  size_t arm = 0;     ///< which recipe
  double amount = 0;  ///< spent on it, > 0
  double loss = 0;    ///< at its end, nats per token, finite
  int64_t seed = 0;   ///< of its training; an (arm, amount) has each seed once
};

/// The runs of an arm at an amount.
struct ScalingCell {
  size_t arm = 0;
  double amount = 0;
  std::vector<double> losses;  ///< in the order of their seeds
  size_t seed_set = 0;         ///< cells with the same number here have the same seeds
};

/// All runs by (arm, amount), ascending, for the bootstrap over runs.
struct ScalingCells {
  std::vector<ScalingCell> cells;
  std::vector<size_t> seed_set_sizes;
  bool single_runs = false;  ///< some cell has one run: a bootstrap sees no spread there

  /// Throws std::logic_error without points, at an amount that is not positive, a loss that is not finite, or a run given twice.
  static ScalingCells from(std::span<const ScalingPoint> points);
  /// Mean losses of the cells.
  std::vector<double> means() const;
  /// Mean losses of as many runs per cell, drawn with replacement. Cells with the same seeds draw the same ones, so that what a seed
  /// does to all arms and amounts stays paired; others draw independently.
  std::vector<double> resampled_means(RandomStream& random) const;
};

/// How much an arm needs for a loss.
struct AmountForLoss {
  enum class Kind {
    kInterpolated,  ///< between its smallest and largest amount
    kExtrapolated,  ///< beyond its largest, by the last falling slope: a lower bound where the curve is convex in log amount
    kBelowLadder,   ///< the loss is worse than at the smallest amount: `amount` is that one, an upper bound
    kUnknown,       ///< fewer than two amounts, or the loss falls nowhere; `amount` is 0
  } kind = Kind::kUnknown;
  double amount = 0;
};

/// points: of a single arm. Seeds are averaged at each amount, the means are made non-increasing by pooling adjacent violators weighted
/// by their numbers of runs (Barlow et al., 1972), and loss is linear in log amount between them. The smallest amount that reaches the
/// loss. Throws std::logic_error on points of several arms, or as ScalingCells::from; no points are kUnknown.
AmountForLoss amount_for_loss(std::span<const ScalingPoint> points, double loss);

/// Data efficiency of an arm at one of its amounts.
struct IsoLossRung {
  double amount = 0;  ///< of the arm
  double loss = 0;    ///< its mean there
  AmountForLoss::Kind kind = AmountForLoss::Kind::kUnknown;  ///< how the reference's amount was found; kUnknown has ratio 0
  Interval ratio;     ///< reference's amount for that loss / amount: above 1 the arm needs less
  double share_extrapolated = 0, share_below_ladder = 0;  ///< of the resamples; they count with their bounds
  double share_unknown = 0;  ///< of the resamples; left out. The interval is {estimate, 0, infinity} when all are
};

struct IsoLossRatio {
  std::vector<IsoLossRung> rungs;  ///< ascending in amount
  bool single_runs = false;        ///< of either arm: the intervals are too narrow, without width if no cell has two runs
};

/// D_reference(L) / D_arm at the arm's mean loss L at each of its amounts, with a percentile interval by bootstrap over runs (see
/// ScalingCells::resampled_means). Other arms' points are ignored; both arms must have points.
IsoLossRatio iso_loss_ratio(std::span<const ScalingPoint> points, size_t reference_arm, size_t arm, int64_t n_resamples, RandomStream random, double confidence = 0.95);

}  // namespace entrain::statistics
