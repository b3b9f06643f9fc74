#pragma once
// What the operators' sources share: calling through the dispatcher, and telling whether a gradient is wanted.

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include "entrain/base/tensor.h"

namespace entrain::ops {

/// Typed handle of the operator `name` ("entrain::rms_norm"); keep it in a static, the lookup takes a lock.
template <class Signature>
c10::TypedOperatorHandle<Signature> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

/// Whether autograd has to record a call with these arguments.
template <class... Tensors>
bool wants_grad(const Tensors&... tensors) {
  return c10::GradMode::is_enabled() && (... || (tensors.defined() && tensors.requires_grad()));
}

/// An undefined tensor as "none", the form schemas know.
inline std::optional<Tensor> some_if_defined(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

/// Half precision becomes float32, in which norms, softmax and sums are computed; wider types stay.
inline Tensor widen(const Tensor& x) {
  return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x;
}

}  // namespace entrain::ops
