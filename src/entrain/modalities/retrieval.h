#pragma once
// How well counterparts find each other among held-out items.

#include <array>
#include <cstdint>

#include "entrain/base/tensor.h"

namespace entrain::modalities {

constexpr std::array<int64_t, 3> kRecallAt{1, 5, 10};

/// One direction: the rank of item i's counterpart among all N of the other modality, by inner product.
struct Retrieval {
  std::array<double, 3> recall{};  ///< share of items whose counterpart is among the first kRecallAt[k]; chance is kRecallAt[k] / N
  double reciprocal_rank = 0;      ///< mean of 1 / rank
};

/// queries, candidates: (N, d), row i of both belongs together. rank = 1 + number of better candidates + half the number of equal ones, so that
/// embeddings that have collapsed into one point have the middle rank.
Retrieval retrieve(const Tensor& queries, const Tensor& candidates);

/// The share that guessing reaches at kRecallAt[k], at most 1.
double chance(size_t k, int64_t n_candidates);

/// Length of the difference of the means (Liang et al., arXiv 2203.02053, section 3). a, b: (N, d), unit rows; between 0 and 2.
double modality_gap(const Tensor& a, const Tensor& b);

}  // namespace entrain::modalities
