#pragma once
// How a loss's sums over all pairs are made: exactly in O(n^2) time, or from random features in O(n).

#include <cstdint>
#include <string>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"

namespace entrain::entanglement {

enum class PairSums {
  kExact,             ///< in tiles; O(n^2) time, O(n) memory
  kRandomFeatures,    ///< trigonometric features; O(n m)
  kPositiveFeatures,  ///< positive features; O(n m)
  kFft,               ///< trigonometric features, pairs weighted by window_decay^distance; O(m n log n)
};

/// The way for groups of n candidates on all ranks together. `auto` is exact up to 2,048, where it costs about as much as random
/// features. Exact whatever config.pairs says: temperatures below 0.25, whose sums features cannot carry, and the losses `entropy_floor`
/// and `simctg`, which need more than sums of kernels.
PairSums choose_pairs(const Config& config, int64_t n);

/// What the loss does with groups of n candidates: "exact pairs among 1024 positions", "random features, 256 orthogonal frequencies, for the pairs
/// among 4096 positions", or, for losses that form no pairs, "covariances of all positions" and the like.
std::string describe(const Config& config, int64_t n);

/// W (config.frequencies, d) with rows from N(0, I / temperature) for ops::feature_sum. `orthogonal`: in blocks of d, rows of a random orthogonal
/// matrix times the norms of Gaussian vectors (Yu et al., arXiv 1610.09072). New ones every step if `resample` (fixed ones are gamed: a
/// head learns what they do not see), the same on all ranks.
Tensor draw_frequencies(const Config& config, const Context& context, int64_t d, at::ScalarType dtype);

/// log sum_{j != i} exp(z_i.z_j / temperature) over i's group; for kFft, pairs weighted. z: (G, n, d) unit vectors in groups of to_groups();
/// n and R n >= 2. Returns (G, n). For scope `batch` j runs over the positions of all ranks: exact sums gather all vectors, estimated ones
/// add up one vector of features. Estimates can fall below what is possible, even below 0; there they are set to the smallest possible
/// sum, all other candidates opposite to i, and give no gradient.
Tensor log_row_sums(const Tensor& z, const Config& config, const Context& context);

/// log of the mean of exp(z_i.z_j / temperature) over the (weighted) ordered pairs i != j of each group. Returns (G). As log_row_sums().
Tensor log_pair_mean(const Tensor& z, const Config& config, const Context& context);

/// Matrix-product FLOPs over pairs, features and moments of one loss with its gradient, on one of n_ranks ranks with `rows` rows (those of all
/// views counted) of `positions` positions each.
double pair_flops(const Config& config, int64_t rows, int64_t positions, int64_t views, int64_t n_ranks);

}  // namespace entrain::entanglement
