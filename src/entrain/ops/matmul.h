#pragma once
// Matrix products by the library that is faster on this machine.

#include "entrain/base/tensor.h"

namespace entrain::ops {

/// a b^T. a: (N, K); b: (M, K). Any device and dtype.
Tensor matmul_nt(const Tensor& a, const Tensor& b);

/// a b. a: (N, K); b: (K, M). Any device and dtype.
Tensor matmul_nn(const Tensor& a, const Tensor& b);

}  // namespace entrain::ops
