#pragma once
// The micro-batch and the recipes of the tests of losses.

#include "entrain/entanglement/losses.h"
#include "states.h"

namespace entrain::entanglement {

constexpr int64_t kRows = 4, kPositions = 5, kAll = kRows * kPositions, kWidth = 4, kStates = 6, kVocab = 7;

/// Random tokens, attributes and statistics; step 3.
struct MicroBatch {
  TokenStatistics statistics = random_statistics(kVocab, 3);
  Context context;
  explicit MicroBatch(int64_t views = 1, int64_t rows = kRows) {
    context.ids = integers({rows, kPositions}, kVocab, 1);
    context.attribute = integers({rows, kPositions}, 4, 2) - 1;
    context.views = views;
    context.statistics = &statistics;
    context.step = 3;
  }
  double value(const Tensor& v, const Config& config) const { return loss(v, config, context, *make_positives(config, context)).item<double>(); }
};

inline Config config_of(const std::string& loss, const std::string& positives = "next", const std::string& pairs = "exact") {
  Config config{.width = kWidth, .loss = loss, .positives = positives, .pairs = pairs, .frequencies = 64, .next_k = 2};
  config.window = 3;
  config.frequency_threshold = 0.05;
  config.uniformity_weight = 0.7;
  config.slices = 5;
  return config;
}

/// Float64 rounding through a few hundred operations.
constexpr double kRounding = 1e-10;

}  // namespace entrain::entanglement
