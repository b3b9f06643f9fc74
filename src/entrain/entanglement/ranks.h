#pragma once
// Sums and gatherings over ranks that autograd can pass through. A loss made with them has the same value on every rank, and its gradient
// on a rank is that of the sum of all ranks' losses: the mean over ranks of parameter gradients is the whole batch's gradient, as usual
// in data parallel training.

#include "entrain/base/communicator.h"
#include "entrain/base/tensor.h"

namespace entrain::entanglement {

int64_t rank_of(const Communicator* ranks);
/// 1 for null.
int64_t number_of(const Communicator* ranks);

/// The elementwise sum over ranks; the gradient is summed as well. null or one rank: x itself.
Tensor sum_over_ranks(const Tensor& x, Communicator* ranks);

/// (R n, ...): the tensors of all ranks along dimension 0; each rank gets back the sum of all gradients for its part. null or one rank: x itself.
Tensor gather_over_ranks(const Tensor& x, Communicator* ranks);

}  // namespace entrain::entanglement
