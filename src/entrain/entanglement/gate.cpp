#include "entrain/entanglement/gate.h"

#include <ATen/ATen.h>

#include <map>

namespace entrain::entanglement {
namespace {

constexpr double kTiny = 1e-30;

/// What is left of `x` (N, C) without its component against `other`, row by row. `dots`: (N, 1) their products.
Tensor without_conflict(const Tensor& x, const Tensor& other, const Tensor& dots) {
  return x - dots.clamp_max(0.0) / (other.square().sum(-1, true) + kTiny) * other;
}

}  // namespace

Gate gate_from_name(const std::string& name) {
  static const std::map<std::string, Gate> gates{{"none", Gate::kNone}, {"token", Gate::kToken}, {"matrix", Gate::kMatrix},
                                                 {"cosine", Gate::kCosine}, {"pcgrad", Gate::kPcgrad}, {"gradnorm", Gate::kGradnorm}};
  const auto found = gates.find(name);
  TORCH_CHECK(found != gates.end(), "no gate ", name);
  return found->second;
}

Gated apply_gate(Gate gate, const Tensor& incoming, const Tensor& side, double norm_cap) {
  const bool whole = gate == Gate::kMatrix || gate == Gate::kCosine || gate == Gate::kGradnorm || gate == Gate::kNone;
  const int64_t rows = whole ? 1 : incoming.numel() / incoming.size(-1);
  const Tensor g = incoming.reshape({rows, -1}), u = side.reshape({rows, -1});
  const Tensor dots = (g * u).sum(-1, true);  // (N, 1)
  const double g_norm = g.norm().item<double>(), u_norm = u.norm().item<double>();
  Gated result;
  result.cosine = dots.sum().item<double>() / (g_norm * u_norm + kTiny);
  result.side_ratio = u_norm / (g_norm + kTiny);
  result.rate = (dots < 0).to(at::kDouble).mean().item<double>();
  Tensor base = g, added = u;
  switch (gate) {
    case Gate::kNone: break;
    case Gate::kPcgrad: base = without_conflict(g, u, dots); [[fallthrough]];
    case Gate::kToken:
    case Gate::kMatrix: added = without_conflict(u, g, dots); break;
    case Gate::kCosine: added = u * std::max(0.0, result.cosine); break;
    case Gate::kGradnorm: added = u * (norm_cap * g_norm / (u_norm + kTiny)); break;
  }
  if (norm_cap > 0 && gate != Gate::kGradnorm) {
    const Tensor longest = g.norm(2, {-1}, true) * norm_cap;
    added = added * (longest / (added.norm(2, {-1}, true) + kTiny)).clamp_max(1.0);
  }
  result.ratio = added.norm().item<double>() / (g_norm + kTiny);
  result.gradient = (base + added).view(incoming.sizes());
  return result;
}

}  // namespace entrain::entanglement
