#pragma once
// Paired bootstrap over blocks of held-out text (Efron and Tibshirani, 1993, chapter 8: resampling the units that are
// independent, with both models' losses kept together).

#include <cstdint>
#include <vector>

#include "entrain/base/random.h"

namespace entrain::lab {

/// A difference in nats per token with the percentile interval that holds 95 % of its resamples.
struct Difference {
  double mean = 0, low = 0, high = 0;
  bool significant() const { return low > 0 || high < 0; }
};

/// One block: summed nats under each model over the same tokens.
struct PairedBlock {
  double nats_a = 0, nats_b = 0;
  double tokens = 0;
};

/// (sum nats_a - sum nats_b) / sum tokens, and its interval from n_resamples draws of as many blocks with replacement.
/// blocks must not be empty.
Difference paired_bootstrap(const std::vector<PairedBlock>& blocks, int64_t n_resamples, RandomStream random);

}  // namespace entrain::lab
