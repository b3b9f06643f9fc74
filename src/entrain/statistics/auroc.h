#pragma once
// How well a score tells positive items from negative ones: the chance that a random positive outranks a random negative, ties counted
// half. 0.5 is no knowledge. Scores count by their order alone.
// scores: finite; labels: 0 or 1, one a score. Anything else throws std::logic_error. Without both classes nothing is told: {0.5, 0, 1}.

#include <cstdint>
#include <span>

#include "entrain/base/random.h"
#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

struct Auroc {
  Interval auroc{0.5, 0, 1};
  double se = 0;  ///< DeLong, DeLong and Clarke-Pearson (1988), computed from mean ranks (Sun and Xu, 2014)
  int64_t n_positive = 0, n_negative = 0;
};

/// The interval is DeLong's on the logit scale, within [0, 1]. Where the classes do not overlap (AUROC 0 or 1, se 0), and where one has a
/// single item (no se by DeLong), it is the score interval of Hanley and McNeil's variance (1982) taken at the limit itself (Newcombe,
/// 2006), and a single item's se is that variance's. A constant score has exactly 0.5, without width.
Auroc auroc(std::span<const double> scores, std::span<const uint8_t> labels, double confidence = 0.95);

/// What was compared within strata.
struct StratifiedAuroc {
  Interval auroc{0.5, 0, 1};
  int64_t n_pairs = 0;           ///< of a positive and a negative in the same stratum
  int64_t n_strata = 0;          ///< with both classes
  int64_t n_strata_left_out = 0;  ///< with one
};

/// AUROC of each stratum averaged with weights n_positive * n_negative: of all pairs within a stratum the share in the right order.
/// strata: one number an item, any values; empty is one stratum. The percentile interval of n_resamples draws of items within each
/// stratum, as many as it has; draws that leave no pair are left out. At 0 and 1 it has no width.
StratifiedAuroc stratified_auroc(std::span<const double> scores, std::span<const uint8_t> labels,
                                 std::span<const int64_t> strata, int64_t n_resamples, RandomStream random, double confidence = 0.95);

/// Two scores of the same items.
struct AurocDifference {
  Interval difference{0, -1, 1};  ///< a - b
  double a = 0.5, b = 0.5;
  int64_t n_pairs = 0;
};

/// The difference of two stratified AUROCs, each draw of items serving both.
AurocDifference delta_auroc(std::span<const double> scores_a, std::span<const double> scores_b, std::span<const uint8_t> labels,
                            std::span<const int64_t> strata, int64_t n_resamples, RandomStream random, double confidence = 0.95);

}  // namespace entrain::statistics
