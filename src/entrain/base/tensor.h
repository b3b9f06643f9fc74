#pragma once
// The one torch header other headers may include: it declares at::Tensor and little else (about 1.5 s to compile, where
// ATen/ATen.h with autograd takes 12 s). Sources that call tensor functions include ATen/ATen.h from the precompiled header.

#include <ATen/core/Tensor.h>

namespace entrain {

using at::Tensor;

/// Target id that takes no part in a loss.
constexpr int64_t kIgnore = -100;

}  // namespace entrain
