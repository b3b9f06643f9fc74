#pragma once
// How a side loss's gradient joins the language model's at a tap, without a second backward pass: both are gradients with respect
// to the same activation (Sener & Koltun, arXiv 1810.04650, section 3.2). All guarantees are first-order in the activation, not in the
// parameters or under an adaptive optimizer.

#include <string>

#include "entrain/base/tensor.h"

namespace entrain::entanglement {

enum class Gate {
  kNone,       ///< a plain weighted sum
  kToken,      ///< one-sided projection, token by token: u loses its component against g; g is never touched
  kMatrix,     ///< the same with the whole matrix as one vector
  kCosine,     ///< u weighted by max(0, cos(u, g)) of the whole matrix (Du et al., arXiv 1812.02224)
  kPcgrad,     ///< both lose the component against each other, token by token (Yu et al., arXiv 2001.06782)
  kGradnorm,   ///< u scaled to norm_cap times the norm of g (after Chen et al., arXiv 1711.02257)
};
/// Throws c10::Error for an unknown name.
Gate gate_from_name(const std::string& name);

struct Gated {
  Tensor gradient;        ///< what goes on to the layers below
  double cosine = 0;      ///< of u and g, whole matrices, before the gate
  double rate = 0;        ///< share of tokens (or 0 or 1 for whole matrices) in conflict
  double side_ratio = 0;  ///< |u| / |g| as they came, before the gate and the cap
  double ratio = 0;       ///< |u| / |g| of what was added
};

/// g: gradient of the language-model loss at the tap, u: weighted gradient of the side loss, both (..., C). norm_cap: rho > 0 bounds
/// what is added to rho times g's norm: token by token for kToken and kPcgrad, as a whole else. 0: no bound.
/// After kToken, kMatrix: <g, added> >= 0 up to rounding, token by token or as a whole.
Gated apply_gate(Gate gate, const Tensor& g, const Tensor& u, double norm_cap);

}  // namespace entrain::entanglement
