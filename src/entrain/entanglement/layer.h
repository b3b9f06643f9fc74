#pragma once
// The entanglement layer: identity in the forward pass; in training its backward adds the gated gradient of a side loss on
// projections of the tapped states. Nothing of it remains in the model.

#include <utility>
#include <vector>

#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"
#include "entrain/entanglement/gate.h"
#include "entrain/model/parameters.h"

namespace entrain::entanglement {

/// What the last pass through a layer showed.
struct Pulse {
  double loss = 0;      ///< of the side loss, before its weight
  double cosine = 0;    ///< of the side gradient and the language model's
  double gate_rate = 0; ///< share in conflict
  double side_ratio = 0; ///< |side gradient| / |language model's|, before the gate and the cap and at the weight without warm-up and decay
  double ratio = 0;     ///< |added| / |language model's|
};

class Layer {
 public:
  /// Adds its projection `entanglement.blocks.N.projection.weight` (d, C), with orthonormal rows, to `parameters`, which outlive it.
  Layer(const Config& config, int64_t block, int64_t model_width, uint64_t seed, model::Parameters& parameters);

  int64_t block() const { return block_; }
  /// (d, C)
  const Tensor& projection() const { return projection_; }

  /// h: (B, T, C) with the graph attached -> the same values. weight: lambda of this step; share: of the step's rows in this
  /// micro-batch. The projection's gradient (for the side loss at weight 1) is added to its `grad` at once; h's comes in the backward pass.
  /// Weight 0 returns h itself.
  Tensor operator()(const Tensor& h, const Context& context, double weight, double share);

  /// Of the newest backward pass.
  const Pulse& pulse() const { return pulse_; }

 private:
  friend struct AddSideGradient;
  Config config_;
  Gate gate_;
  int64_t block_;
  Tensor projection_;
  Pulse pulse_;
};

/// lambda at a share of the budget: rises over `warmup`, falls over the last `decay`.
double weight_at(const Config& config, double fraction);

/// Matrix-product FLOPs of one layer in one training pass over a micro-batch, as pair_flops().
double flops_per_pass(const Config& config, int64_t model_width, int64_t rows, int64_t positions, int64_t views, int64_t n_ranks);

}  // namespace entrain::entanglement
