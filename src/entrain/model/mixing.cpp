#include "entrain/model/mixing.h"

#include <algorithm>
#include <cmath>

#include "entrain/base/random.h"
#include "entrain/model/transformer.h"
#include "entrain/ops/ops.h"

namespace entrain::model {
namespace {

/// Rows from N(0, I / temperature), the same for every model of one shape, so that nothing needs to be saved. (m, d)
Tensor fixed_frequencies(int64_t m, int64_t d, double temperature) {
  RandomStream random = stream(0, "mixing/frequencies", static_cast<uint64_t>(m), static_cast<uint64_t>(d));
  const Tensor rows = at::empty({m, d}, at::kFloat);
  float* values = rows.data_ptr<float>();
  for (int64_t i = 0; i < rows.numel(); ++i) values[i] = static_cast<float>(random.next_normal() / std::sqrt(temperature));
  return rows;
}

/// The same by a (T, T) matrix, for pairs that segments restrict.
Tensor segment_sums(const Tensor& phi, const Tensor& u, const Tensor& segments) {
  const Tensor same = segments.unsqueeze(2) == segments.unsqueeze(1);
  return at::bmm((at::bmm(phi, phi.transpose(1, 2)) * same).tril(-1), u);
}

}  // namespace

Mixing::Mixing(const MixingConfig& config, int64_t model_width, Parameters& parameters) : config_(config) {
  const auto n = static_cast<int64_t>(config.blocks.size());
  projection_ = parameters.add(Role::kMatrix, "mixing.projection", {n * config.width, model_width});
  gate_ = parameters.add(Role::kBias, "mixing.gate", {n, model_width});
  frequencies_ = fixed_frequencies(config.features, config.width, config.temperature);
}

Tensor Mixing::add_to_residual(int64_t layer, const Tensor& x, const Forward& forward) const {
  const auto found = std::find(config_.blocks.begin(), config_.blocks.end(), static_cast<double>(layer));
  if (found == config_.blocks.end()) return x;
  const int64_t place = found - config_.blocks.begin();
  const Tensor projection = projection_.narrow(0, place * config_.width, config_.width);
  const Tensor v = ops::linear(x, projection), z = v / v.norm(2, {-1}, true).clamp_min(1e-6);
  const double tau = config_.temperature;
  // e^(W z - |z|^2 / (2 tau)) / sqrt(m): positive features of e^(z.z' / tau) (arXiv 2009.14794, equation 7).
  const Tensor phi = (ops::linear(z, frequencies_) - 0.5 / tau).exp().div(std::sqrt(static_cast<double>(config_.features)));
  const Tensor u = at::cat({z, at::ones_like(z.narrow(-1, 0, 1))}, -1);
  Tensor sums;
  if (forward.segments.defined()) {
    sums = segment_sums(phi, u, forward.segments);
  } else {
    Tensor state;
    if (forward.cache != nullptr) {
      forward.cache->mixing.resize(config_.blocks.size());
      state = forward.cache->mixing[static_cast<size_t>(place)];
    }
    sums = causal_feature_sums(phi, u, state);
    if (forward.cache != nullptr) forward.cache->mixing[static_cast<size_t>(place)] = state;
  }
  const Tensor mean = sums.narrow(-1, 0, config_.width) / (sums.narrow(-1, config_.width, 1) + 1e-6);
  return x + at::matmul(mean, projection) * gate_.select(0, place);
}

Tensor causal_feature_sums(const Tensor& phi, const Tensor& u, Tensor& state) {
  std::vector<Tensor> parts;
  for (int64_t begin = 0; begin < phi.size(1); begin += kMixingChunk) {
    const int64_t n = std::min(kMixingChunk, phi.size(1) - begin);
    const Tensor p = phi.narrow(1, begin, n), q = u.narrow(1, begin, n);
    Tensor part = at::bmm(at::bmm(p, p.transpose(1, 2)).tril(-1), q);
    if (state.defined()) part = part + at::bmm(p, state);
    parts.push_back(part);
    const Tensor added = at::bmm(p.transpose(1, 2), q);
    state = state.defined() ? state + added : added;
  }
  return at::cat(parts, 1);
}

}  // namespace entrain::model
