#pragma once
// The seam for what a model adds to its states besides token embeddings, given the raw ids. A model without features computes the bits
// it would if this did not exist.

#include "entrain/model/transformer.h"

namespace entrain::model {

class TokenFeatures {
 public:
  virtual ~TokenFeatures() = default;
  /// What the pass needs of its tokens, read once: (B, T, ...), handed to the two below. ids: (B, T*s), the new positions only. Keeps in
  /// forward.cache, where given, what later positions need.
  virtual Tensor read(const Tensor& ids, const Forward& forward) const = 0;
  /// The input of block `layer`, x: (B, T, C), with its features.
  virtual Tensor add_to_residual(int64_t layer, const Tensor& x, const Tensor& features) const = 0;
  /// The attention values of block `layer`, v: (B, T, Hkv, D), with their features.
  virtual Tensor add_to_values(int64_t layer, const Tensor& v, const Tensor& features) const = 0;
};

}  // namespace entrain::model
