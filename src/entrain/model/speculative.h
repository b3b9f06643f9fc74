#pragma once
// Speculative decoding: a small model proposes tokens, a large one checks them in one pass, and what comes out is distributed as if the
// large one had written alone (Leviathan et al., arXiv 2211.17192, algorithm 1; Chen et al., arXiv 2302.01318).

#include "entrain/model/generate.h"

namespace entrain::model {

struct SpeculativeResult {
  std::vector<int32_t> tokens;      ///< as generate() returns them
  int64_t n_proposed = 0;           ///< tokens the draft put forward
  int64_t n_accepted = 0;           ///< of them, those in the text; not those behind a refused one or behind eos
  int64_t n_target_passes = 0;      ///< generate() takes one a token
  bool draft_failed = false;        ///< the draft's logits were not finite: the target went on alone from there
};

/// Continuation of the prompt by `target`, sped up by `draft`: distributed exactly as generate()'s with the same Sampling, whose filters apply
/// to both models; at temperature 0 the same tokens but where two logits are equal up to rounding. Other draws than generate()'s for a seed.
/// n_draft >= 1: most tokens proposed before each pass of the target. The other arguments as in generate(). A draft of family gpt2 proposes
/// nothing beyond its last position.
/// Throws Error{kData} where the vocabularies differ, Error{kUsage} where a model has forward mixing, whose sums cannot be taken back, and
/// Error{kNumeric} where logits of the target are not finite.
SpeculativeResult speculate(const Transformer& draft, const Transformer& target, std::span<const int32_t> prompt, const Sampling& sampling, int64_t n_draft,
                            const std::vector<int32_t>& eos, const std::function<void(int32_t)>& on_token = {});

/// Cuts a cache to its first `length` positions, at most those it has, as if no later ones had been read. ids: one row, those positions'
/// at least. The cache must hold no sums of forward mixing.
void truncate(KvCache& cache, int64_t length, std::span<const int64_t> ids);

}  // namespace entrain::model
