#pragma once
// Assigning questions to experts so that each gets a given share: what enforcing a split costs at its best.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/base/tensor.h"

namespace entrain::experts {

/// n questions in whole numbers by shares that sum to 1, by largest remainder (ties: the earlier part).
std::vector<int64_t> whole_quotas(std::span<const double> shares, int64_t n);

/// Which expert answers each question, (n) int64, so that expert j gets quotas[j] questions and the sum of the scores is the greatest there is (a transport problem, solved
/// exactly: everyone first gets the best for it, then questions move along the cheapest chains from experts with too many to those with too few).
/// scores: (n, N) finite; quotas: >= 0, summing to n. Few experts: some n N log n + n N^3 steps.
Tensor assign(const Tensor& scores, std::span<const int64_t> quotas);

}  // namespace entrain::experts
