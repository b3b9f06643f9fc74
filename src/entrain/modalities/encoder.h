#pragma once
// A modality's encoder into the shared space: a causal transformer, the mean of its hidden states, a projection.

#include <string>
#include <vector>

#include "entrain/modalities/modality.h"
#include "entrain/model/transformer.h"

namespace entrain::modalities {

class Encoder {
 public:
  /// A llama of config.width, layers and heads; for frames a linear projection (C, F) with a bias stands in place of the embedding.
  /// Every weight is drawn from its own stream of the seed and the modality's name, normal with standard deviation 1/sqrt(C) (the projection of
  /// frames: 1/sqrt(F)), the same whatever the arm and the other modalities are.
  Encoder(const Config& config, const Modality& modality, uint64_t seed);

  /// z = normalised(W mean over valid positions of the hidden states): (B, d), rows of length 1. Padding does not take part: attention is causal, padding stands
  /// on the right, and the mean leaves it out. dropout: draws of this pass; null: none.
  Tensor encode(const Padded& batch, RandomStream* dropout = nullptr) const;

  /// Weights of the transformer, and those around it.
  std::vector<model::Parameters*> parameters() { return {&transformer_.parameters(), &around_}; }
  /// Matrix-product FLOPs, forward and backward, of a batch of so many rows and positions, padding included: model::training_flops_per_position without
  /// the head, with both projections.
  double training_flops(int64_t rows, int64_t positions) const;

 private:
  model::Transformer transformer_;
  model::Parameters around_;
  Tensor frame_weight_, frame_bias_, projection_;
};

}  // namespace entrain::modalities
