#pragma once
// Who takes the next step of a loop: a sigmoid for each expert on the cheapest one's state at the transcript's end.

#include "entrain/experts/iterate.h"
#include "entrain/model/safetensors.h"

namespace entrain::experts {

/// What every expert would do next at n places of right transcripts.
struct StepTable {
  Tensor features;          ///< (n, C) float32: the cheapest expert's states
  Tensor right;             ///< (n, N) float64: 1 where the expert's next action is the right transcript's
  Tensor cost;              ///< (N) float64: mean FLOPs of a step over the dearest's mean
  int64_t cheapest = 0;
};

/// Of the transcripts that solve the items (reasoning::tool_transcript), cut before each step. An expert that fails at a step is not right there.
/// Items should be of the awareness split, and none of them of the experts' training.
StepTable make_step_table(const Pool& pool, std::span<const reasoning::Item> items, const IterateOptions& options = {});

class StepCoordinator {
 public:
  static StepCoordinator fit(const StepTable& table);
  Tensor predict(const Tensor& features) const { return probes_.predict(features); }  ///< (n, N): P(the next action is right)
  /// argmax of P_j - lambda cost_j; reading the transcript for it is charged whole at every step. Where the cheapest expert's states are not finite, the means of the
  /// table decide. The pool outlives the chooser.
  Chooser chooser(const Pool& pool, double lambda) const;
  model::NamedTensors state() const;
  /// Throws Error{kData} naming a tensor that is missing.
  static StepCoordinator from(const std::vector<std::pair<std::string, Tensor>>& tensors);

 private:
  Probes probes_;
  Tensor cost_, mean_right_;  // (N) float64
  int64_t cheapest_ = 0;
};

}  // namespace entrain::experts
