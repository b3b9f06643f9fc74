#include "entrain/modalities/retrieval.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "entrain/base/error.h"

namespace entrain::modalities {

Retrieval retrieve(const Tensor& queries, const Tensor& candidates) {
  const int64_t n = queries.size(0);
  ENTRAIN_CHECK(n >= 1 && candidates.size(0) == n, "queries and candidates of different number");
  const Tensor scores = at::matmul(queries, candidates.t());
  const Tensor own = scores.diagonal().unsqueeze(1);
  const Tensor ranks = (scores > own).sum(1).to(at::kDouble) + ((scores == own).sum(1).to(at::kDouble) - 1.0) * 0.5 + 1.0;
  Retrieval result;
  for (size_t k = 0; k < kRecallAt.size(); ++k) result.recall[k] = (ranks <= static_cast<double>(kRecallAt[k])).to(at::kDouble).mean().item<double>();
  result.reciprocal_rank = ranks.reciprocal().mean().item<double>();
  return result;
}

double chance(size_t k, int64_t n_candidates) { return std::min(1.0, static_cast<double>(kRecallAt[k]) / static_cast<double>(n_candidates)); }

double modality_gap(const Tensor& a, const Tensor& b) { return (a.mean(0) - b.mean(0)).norm().item<double>(); }

}  // namespace entrain::modalities
