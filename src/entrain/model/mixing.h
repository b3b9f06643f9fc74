#pragma once
// Forward mixing, an ablation of the entanglement layer: each state also receives the kernel-weighted mean of the projected states before
// it, through a gate that starts at zero. Causal by prefix sums of positive random features, so O(T) in time, and part of the model:
// unlike the side loss it is there at inference, which plain formats cannot hold.

#include "entrain/model/mixing_config.h"
#include "entrain/model/parameters.h"

namespace entrain::model {

struct Forward;

class Mixing {
 public:
  /// Adds `mixing.projection` (blocks x d, C) and `mixing.gate` (blocks, C), the gate zero, to `parameters`.
  Mixing(const MixingConfig& config, int64_t model_width, Parameters& parameters);

  /// x: (B, T, C) at `hook_resid_mid` of block `layer` -> x + gate * W^T y, where z = W x / |W x| and
  /// y_i = sum_{j < i} k(z_i, z_j) z_j / (sum_{j < i} k(z_i, z_j) + 1e-6), k = phi.phi an estimate of e^(z_i.z_j / temperature). With segments, j stays
  /// in i's. forward.cache, where given, keeps the sums: cached and whole passes agree up to rounding.
  Tensor add_to_residual(int64_t layer, const Tensor& x, const Forward& forward) const;

 private:
  MixingConfig config_;
  Tensor projection_, gate_, frequencies_;
};

/// Sums over j < i of (phi_i.phi_j) u_j. phi: (B, T, F), u: (B, T, K), state: (B, F, K) the sum of phi_j u_j^T over earlier positions or undefined; receives
/// the sum over all of them. Returns (B, T, K). O(T F K) time, chunks of 64 positions.
Tensor causal_feature_sums(const Tensor& phi, const Tensor& u, Tensor& state);

}  // namespace entrain::model
