#pragma once
// One run: encoders trained under one arm, judged on held-out items.

#include <array>
#include <span>
#include <string>
#include <vector>

#include "entrain/modalities/encoder.h"
#include "entrain/modalities/retrieval.h"

namespace entrain::modalities {

/// What tells a run from the others of its recipe.
struct Run {
  std::vector<std::string> names;  ///< modalities trained together
  std::string arm;                 ///< one of arm_names()
  double share = 1;                ///< of the training items whose counterparts are known
  int64_t seed = 1;
  std::string group() const;       ///< "bytes+bpe"
  std::string name() const;        ///< "bytes+bpe-flat-0.1-seed1"
};

/// Losses of a step in nats; what the step does not have is 0.
struct LossPoint {
  int64_t step = 0;
  double within = 0, across = 0, uniformity = 0;
};

/// Two modalities of a run on the held-out items.
struct PairScore {
  std::string a, b;
  Retrieval a_to_b, b_to_a;
  double gap = 0;
  double recall(size_t k) const { return (a_to_b.recall[k] + b_to_a.recall[k]) / 2; }
  double reciprocal_rank() const { return (a_to_b.reciprocal_rank + b_to_a.reciprocal_rank) / 2; }
};

struct Outcome {
  int64_t n_paired = 0;
  int64_t n_steps = 0;             ///< config.steps, or as many as take the FLOPs of a hierarchical run of config.steps
  double flops = 0;                ///< of training, matrix products of the encoders
  double seconds = 0;              ///< of training
  double logit_scale = 0;          ///< at the end
  std::vector<LossPoint> curve;    ///< some twenty steps
  std::vector<PairScore> scores;   ///< every pair of the run's modalities
};

/// The training items whose counterparts are known: the first n_paired of a permutation that depends on the seed alone, so a smaller share lies within
/// a larger one.
std::vector<int64_t> paired_items(uint64_t seed, int64_t n_items, int64_t n_paired);

/// The places, in [0, n), of a step's batch: epochs of permutations of their own, the rest of an epoch that fills no batch left out.
/// Returns min(batch, n) different ones.
std::vector<int64_t> batch_places(uint64_t seed, const std::string& name, int64_t step, int64_t n, int64_t batch);

/// Embeddings of whole sequences without dropout: (items, d).
Tensor embed(const Encoder& encoder, const Modality& modality, std::span<const int64_t> items);

/// Trains and judges (docs/methods/modalities.md). modalities: of the run's names, in their order, over the same items, of which the first n_train are trained on
/// and the rest held out. Results depend on the arguments and the number of threads alone; initialisation, pairs and batches are the same in every arm.
/// Throws Error{kNumeric} where a loss or gradient is not finite.
Outcome perform(const Config& config, const std::vector<const Modality*>& modalities, int64_t n_train, const Run& run);

}  // namespace entrain::modalities
