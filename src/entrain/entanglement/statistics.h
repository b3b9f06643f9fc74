#pragma once
// What the training text says about its tokens by themselves: how frequent each is, and which occur near each other.

#include <cstdint>
#include <span>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"

namespace entrain::entanglement {

struct TokenStatistics {
  Tensor counts = {};   ///< (V) float64, occurrences of each token
  Tensor vectors = {};  ///< (V, r) float32 >= 0, u_t.u_t' approximates PPMI(t, t'); undefined unless positives are `ppmi`
};

/// Unigram counts, and for the positives `ppmi` a non-negative factorisation of the tokens' positive pointwise mutual information
/// max(0, log p(t, t') / (p(t) p(t'))), counted over pairs at most ppmi_window apart (Levy & Goldberg, NeurIPS 2014, section 3).
/// Rows of a truncated eigendecomposition may have negative products, which are no weights; hence symmetric non-negative factors
/// PPMI ~ U U^T (Ding, He & Simon, SDM 2005) by damped multiplicative updates. They start from the leading eigenpairs with positive
/// eigenvalues, of each vector the heavier of its positive and negative part (Boutsidis & Gallopoulos, Pattern Recognition 2008).
/// The 4,096 most frequent types take part, ties by lower id; the other rows are 0. Deterministic. Ids outside [0, vocab) are a
/// programming error.
TokenStatistics token_statistics(std::span<const int32_t> tokens, int64_t vocab, const Config& config);

}  // namespace entrain::entanglement
