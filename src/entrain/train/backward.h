#pragma once
// Loss and gradients of one step, over its micro-batches.

#include "entrain/model/transformer.h"
#include "entrain/superposition/schedule.h"
#include "entrain/text/batch_source.h"
#include "entrain/train/method.h"

namespace entrain::train {

class Teachers;

struct BackwardOptions {
  int64_t micro_batches = 1;
  text::Borders borders = text::Borders::kCross;
  uint64_t seed = 0;                 ///< of dropout
  int64_t step = 0;                  ///< likewise
  double fraction = 0;               ///< of the budget spent before the step
  const Methods* methods = nullptr;
  const Teachers* teachers = nullptr;  ///< their predictions take part in the loss
};

/// Leaves the gradient of the mean loss over all positions of the batch in the model's parameters and returns that loss, in
/// nats. Any number of micro-batches gives the same sum up to rounding: all are normalised by the whole batch's positions.
double backward(model::Transformer& model, const text::Batch& batch, const superposition::StepPlan& plan, const BackwardOptions& options);

}  // namespace entrain::train
