#pragma once
// Answers after every round of observation, beside those of controls that keep all of the machinery but what is claimed to matter
// (experts.md 3.2). All depths are judged from these.
//
// Shapes: N experts, n examples, R rounds; 13 answers in reasoning::kAnswers' order.

#include <string>
#include <vector>

#include "entrain/experts/entangled.h"

namespace entrain::experts {

/// What stands in the places of the others' states that an expert reads; its own states are its own in all of them.
enum class Partners {
  kOwn,       ///< the others' states of the same example: observation proper
  kNone,      ///< nothing: all edges cut, the same block reads the expert's own states alone
  kNoise,     ///< normal noise with the mean and spread that each channel of those states has over the batch
  kShuffled,  ///< the others' states of the next example of equal length, as they are in that one's own run
};

/// Logits after 0 to n_rounds rounds, (R + 1, N, n, 13) float32 without gradients. Examples are run in batches of equal length, so that nothing is
/// padded. With kShuffled, an example whose length no other has gets NaN. The noise is drawn from `seed`.
/// observation: the pool's own or another of the same configuration.
Tensor logits_by_round(const Entangled& entangled, const Observation& observation, std::span<const Example> examples, int64_t n_rounds, Partners partners, uint64_t seed);

/// An untrained observation of the same shape whose output matrices are random too, each with the norm of the trained one (1 / sqrt(columns) a
/// weight where that is zero): as much is written back, without anything learned.
Observation random_observation(const Entangled& entangled, uint64_t seed);

/// All that the measures of depth need, from one set of examples.
struct Observed {
  int64_t n_rounds = 0;
  Tensor own, none, noise, shuffled, untrained;  ///< (R + 1, N, n, 13)
};

Observed observe(const Entangled& entangled, std::span<const Example> examples, int64_t n_rounds, uint64_t seed);

/// Accuracies of one arm after so many rounds.
struct ControlRow {
  std::string control;            ///< own, none, noise, shuffled or untrained
  int64_t rounds = 0;
  std::vector<double> by_expert;  ///< over all examples
  double judged = 0;              ///< of each example's asker; of all experts where it has none
};

struct ControlTable {
  std::vector<ControlRow> rows;  ///< arm by arm, rounds rising from 0; round 0 is the isolated experts in each
  int64_t n = 0;                 ///< examples, the same ones in every row
  int64_t left_out = 0;          ///< alone in their length: they have no partner to be shuffled with
};

ControlTable control_table(const Observed& observed, std::span<const Example> examples);

/// Largest change of any logit or state at position t or before when all tokens after t are replaced, over all experts after n_rounds: 0 where nothing leaks
/// backwards. edges: of every round. `after`, where given, receives the largest change behind t, which is 0 only where the test tests nothing.
double leak(const Entangled& entangled, const Prompts& prompt, int64_t t, int64_t n_rounds, const Edges& edges, double* after = nullptr);

}  // namespace entrain::experts
