#pragma once
// Named hook points of the forward pass, with TransformerLens' names (blocks.3.hook_resid_mid): a tap sees a tensor and
// returns it or a replacement. None registered costs one pointer test a point.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "entrain/base/tensor.h"

namespace entrain::model {

/// Sees the tensor at its point, with the autograd graph attached, and returns what the forward pass goes on with.
using Tap = std::function<Tensor(const Tensor&)>;

class Taps {
 public:
  /// Points of a model with n_layers blocks, in the order the forward pass meets them. Shapes: resid_*, attn_out, mlp_out,
  /// embed and hook_normalized (B, T, C); attn.hook_q, hook_k (before the rotation), hook_v and hook_z (B, T, heads, D).
  static std::vector<std::string> points(int64_t n_layers);

  explicit Taps(int64_t n_layers) : names_(points(n_layers)) {}
  /// Taps of one point run in the order they were added. Throws Error{kUsage} with the nearest name for an unknown point.
  void add(const std::string& point, Tap tap);
  bool empty() const { return taps_.empty(); }
  Tensor apply(const std::string& point, const Tensor& x) const;

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::vector<Tap>> taps_;
};

}  // namespace entrain::model
