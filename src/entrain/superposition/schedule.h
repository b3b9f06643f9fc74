#pragma once
// Token Superposition Training (arXiv 2605.06546): for a first share r of training each position is a bag of s averaged token
// embeddings and its targets are the tokens of the next bag; then ordinary training. Equal to Patch-Level Training
// (arXiv 2407.12665) but for the raw tokens a step reads.

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/base/config.h"

namespace entrain::superposition {

struct Config {
  std::string mode = "none";
  int64_t bag = 4;
  double ratio = 0.25;
  std::string weights = "uniform";

  void bind(config::Binder& binder);
};

/// What one step reads and predicts.
struct StepPlan {
  int64_t bag = 1;                 ///< tokens averaged into an input position
  int64_t target_bag = 1;          ///< targets of a position
  std::vector<float> weights;      ///< of the targets, sums to 1; empty: uniform
  bool operator==(const StepPlan&) const = default;
};

/// Which plan applies when. A pure function of the share of training done, so it needs no saving.
class Schedule {
 public:
  explicit Schedule(const Config& config) : config_(config) {}
  /// fraction: share of the training budget spent before this step, in [0, 1). The switch is hard: fraction < r is superposed.
  StepPlan at(double fraction) const;
  /// The plan with the most raw tokens a row, for checking that the text suffices.
  StepPlan widest() const { return at(0.0); }

 private:
  Config config_;
};

}  // namespace entrain::superposition
