#pragma once
// What experts know of each other's estimates (D4, experts.md 3.2): i's guess whether j is right, i's guess of j's guess about i, i's guess of j's
// guess of i's guess. All by linear probes on states.
//
// For experts i and j, c_i and c_j in {0, 1} being whether they are right:
//   level 0  own[i]  = i's estimate of c_i          (not counted as depth; what any later level may just restate)
//   level 1  e1      = i's estimate of c_j
//   level 2  e2      = i's estimate of j's estimate of c_i
//   level 3  e3      = i's estimate of j's estimate of e1

#include <array>

#include "entrain/base/tensor.h"
#include "entrain/statistics/resampling.h"

namespace entrain::experts {

/// Two experts on one set of n questions.
struct BeliefSheet {
  Tensor states_i, states_j;    ///< (n, C_i), (n, C_j): of i and j, after as many rounds of observation as are judged
  Tensor correct_i, correct_j;  ///< (n), 0 or 1
};

struct BeliefLevel {
  int64_t level = 0;
  double r2 = 0;                   ///< out-of-sample R^2 of the target from lower levels and i's state
  double r2_lower = 0;             ///< from the lower levels alone (level 1: from nothing, 0 but for the difference of the means)
  statistics::Interval gain;       ///< r2 - r2_lower, percentile bootstrap over test questions, 95 %
  statistics::Interval gain_self;  ///< the same where level 0 counts among the lower levels too: what i's state tells beyond its view of itself
  bool known = false;              ///< gain.low > 0
  bool known_beyond_self = false;
};

struct BeliefOrder {
  std::array<BeliefLevel, 3> levels;
  int64_t depth = 0;              ///< highest known level, 0 for none
  int64_t depth_beyond_self = 0;  ///< the same of known_beyond_self
};

/// Probes are trained on `train` and scored on `test`. "Lower levels" are their targets' true values and i's estimates of them, so that nothing is left for i's state to
/// tell again. Training questions are split in thirds by `seed`, for estimates of outcomes, for estimates of estimates, and for the comparison of levels, so that no value that is
/// compared comes from a probe that saw its question. Estimates of c are logistic, of estimates linear; ridge as in logistic.h.
/// Throws std::logic_error below 30 training questions or on sizes that differ.
BeliefOrder belief_order(const BeliefSheet& train, const BeliefSheet& test, uint64_t seed, double ridge = 1e-2);

}  // namespace entrain::experts
