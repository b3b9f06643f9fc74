#pragma once
// Distillation of language models into another through the logits of their heads.

#include "entrain/base/tensor.h"

namespace entrain::ops {

/// T^2 KL(p || q), summed over positions and divided by `normaliser` > 0, where q = softmax(hidden head^T / T) and p is the mean over K >= 1
/// teachers of softmax(teacher_hidden[k] teacher_heads[k]^T / T) (Hinton et al., arXiv 1503.02531, section 2; with T^2 the gradient keeps its
/// size as T grows). In nats. hidden: (..., C), N positions; head: (V, C); teacher_hidden: K times (..., C_k); teacher_heads: K times (V, C_k);
/// valid: N bools, positions that count; temperature: T > 0. Returns a scalar, differentiable by hidden and head. Logits are never stored
/// whole: O(1024 V) memory whatever N and K are. One tensor is a list of one.
Tensor head_distillation(const Tensor& hidden, const Tensor& head, at::TensorList teacher_hidden, at::TensorList teacher_heads, const Tensor& valid,
                         double temperature, double normaliser);

}  // namespace entrain::ops
