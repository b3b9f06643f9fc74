#include "entrain/lab/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "entrain/base/error.h"

namespace entrain::lab {

Difference paired_bootstrap(const std::vector<PairedBlock>& blocks, int64_t n_resamples, RandomStream random) {
  ENTRAIN_CHECK(!blocks.empty() && n_resamples > 0, "nothing to resample");
  const auto difference = [](double nats, double tokens) { return nats / tokens; };
  double nats = 0, tokens = 0;
  for (const PairedBlock& block : blocks) {
    nats += block.nats_a - block.nats_b;
    tokens += block.tokens;
  }
  std::vector<double> resampled(static_cast<size_t>(n_resamples));
  for (double& value : resampled) {
    double sum_nats = 0, sum_tokens = 0;
    for (size_t i = 0; i < blocks.size(); ++i) {
      const PairedBlock& block = blocks[random.next_below(blocks.size())];
      sum_nats += block.nats_a - block.nats_b;
      sum_tokens += block.tokens;
    }
    value = difference(sum_nats, sum_tokens);
  }
  std::sort(resampled.begin(), resampled.end());
  const auto quantile = [&](double q) { return resampled[static_cast<size_t>(std::lround(q * static_cast<double>(n_resamples - 1)))]; };
  return {difference(nats, tokens), quantile(0.025), quantile(0.975)};
}

}  // namespace entrain::lab
