#pragma once
// Distillation of one language model into another through the logits of their heads.

#include <tuple>

#include "entrain/base/tensor.h"

namespace entrain::ops {

/// T^2 KL(p || q), summed over positions and divided by `normaliser` > 0, where p = softmax(teacher_hidden teacher_head^T / T) and
/// q = softmax(hidden head^T / T) (Hinton et al., arXiv 1503.02531, section 2; with T^2 the gradient keeps its size as T grows). In nats.
/// hidden: (..., C), N positions; head: (V, C); teacher_hidden: (..., C'); teacher_head: (V, C'); valid: N bools, positions that
/// count; temperature: T > 0. Returns a scalar, differentiable by hidden and head. Logits are never stored whole: O(1024 V) memory.
Tensor head_distillation(const Tensor& hidden, const Tensor& head, const Tensor& teacher_hidden, const Tensor& teacher_head, const Tensor& valid,
                         double temperature, double normaliser);

}  // namespace entrain::ops
