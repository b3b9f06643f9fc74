#pragma once
// Sums and gatherings over the processes that train one model together.

#include <cstdint>

#include "entrain/base/tensor.h"

namespace entrain {

/// The default is one process alone. Every rank calls the same methods in the same order with tensors of equal shape.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const { return 0; }
  virtual int64_t size() const { return 1; }
  /// The elementwise sum over ranks; the same bits on every rank.
  virtual Tensor all_reduce_sum(const Tensor& x) { return x; }
  /// The tensors of all ranks stacked along dimension 0, in the order of the ranks.
  virtual Tensor all_gather(const Tensor& x) { return x; }
};

}  // namespace entrain
