// Kernel sums weighted by distance: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/pairs_reference.h"

namespace entrain::ops {
namespace reference {
namespace {

constexpr int64_t kFeaturesAtOnce = 1 << 20;  // padded positions times features: what caches hold
constexpr int64_t kFrequenciesAtOnce = 8;     // at least: every block reads z and adds to its gradient once

// Convolution of positions with w(|t|), along the last dimension, padded so that the ends do not meet.
class Convolution {
 public:
  explicit Convolution(const Tensor& weights) : n_(weights.size(0)), length_(padded_length(2 * n_)) {
    Tensor kernel = at::zeros({length_}, weights.options());
    kernel.narrow(0, 1, n_ - 1).copy_(weights.narrow(0, 1, n_ - 1));
    kernel.narrow(0, length_ - n_ + 1, n_ - 1).copy_(weights.narrow(0, 1, n_ - 1).flip(0));  // distances to the left
    response_ = at::real(at::fft_rfft(kernel)).contiguous();  // an even kernel's spectrum is real
  }

  int64_t length() const { return length_; }
  /// x: (G, F, n), the last dimension being the positions. Returns the same shape.
  Tensor operator()(const Tensor& x) const {
    return at::fft_irfft(at::fft_rfft(x, length_).mul_(response_), length_).narrow(-1, 0, n_);
  }

 private:
  // The smallest 2^a, 3 * 2^a or 5 * 2^a that will do: lengths at which an FFT is fast.
  static int64_t padded_length(int64_t least) {
    int64_t best = std::numeric_limits<int64_t>::max();
    for (int64_t length : {2, 6, 10}) {
      while (length < least) length *= 2;
      best = std::min(best, length);
    }
    return best;
  }

  int64_t n_, length_;
  Tensor response_;
};

// Calls body(frequencies of the block, m^-1/2 over that of the block alone), block by block.
template <class Body>
void for_each_block(const Tensor& z, const Tensor& frequencies, int64_t length, const Body& body) {
  const int64_t m = frequencies.size(0), step = std::max(kFrequenciesAtOnce, kFeaturesAtOnce / (2 * z.size(0) * length));
  for (int64_t begin = 0; begin < m; begin += step) {
    const int64_t n = std::min(step, m - begin);
    body(frequencies.narrow(0, begin, n), std::sqrt(static_cast<double>(n) / static_cast<double>(m)));
  }
}

}  // namespace

Tensor distance_weighted_sums_forward(const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature,
                                      std::string_view map) {
  const at::ScalarType dtype = widen(z).scalar_type();
  Tensor sums = at::zeros({z.size(0), z.size(1)}, z.options().dtype(dtype));
  if (sums.numel() == 0) return sums;
  const Convolution convolve(weights.to(dtype));
  for_each_block(z, frequencies, convolve.length(), [&](const Tensor& block, double scale) {
    const Tensor phi = features(z, block, temperature, map).mul_(scale).transpose(1, 2).contiguous();
    sums.add_(convolve(phi).mul(phi).sum(1));
  });
  return sums;
}

Tensor distance_weighted_sums_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, const Tensor& weights,
                                       double temperature, std::string_view map) {
  Tensor dz = at::zeros(z.sizes(), grad.options());
  if (dz.numel() == 0) return dz.to(z.scalar_type());
  const Convolution convolve(weights.to(grad.scalar_type()));
  for_each_block(z, frequencies, convolve.length(), [&](const Tensor& block, double scale) {
    const Tensor phi = features(z, block, temperature, map).mul_(scale);  // (G, n, F)
    const Tensor columns = phi.transpose(1, 2).contiguous(), g = grad.unsqueeze(1);
    // phi_i appears in r_i and, w being symmetric, with the same weights in the r_j of the others.
    const Tensor dphi = convolve(columns).mul(g).add_(convolve(columns * g));
    dz.add_(features_backward(dphi.transpose(1, 2), phi, z, block, temperature, map));
  });
  return dz.to(z.scalar_type());
}

}  // namespace reference

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor forward_op(const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature, std::string_view map) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, double, std::string_view)>("entrain::distance_weighted_sums_forward");
  return op.call(z, frequencies, weights, temperature, map);
}

struct DistanceWeightedSums : torch::autograd::Function<DistanceWeightedSums> {
  static Tensor forward(AutogradContext* ctx, const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature,
                        std::string_view map) {
    ctx->save_for_backward({z, frequencies, weights});
    ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["map"] = std::string(map);
    return forward_op(z, frequencies, weights, temperature, map);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    static const auto op = find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, std::string_view)>(
        "entrain::distance_weighted_sums_backward");
    const auto saved = ctx->get_saved_variables();
    const std::string map = ctx->saved_data["map"].toStringRef();
    return {op.call(grads[0], saved[0], saved[1], saved[2], ctx->saved_data["temperature"].toDouble(), map), {}, {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature, std::string_view map) {
  TORCH_CHECK(z.dim() == 3 && z.is_floating_point() && frequencies.dim() == 2 && frequencies.size(0) > 0 && frequencies.size(1) == z.size(2),
              "distance_weighted_sums: frequencies must be (m, d) for floating z (G, n, d), are ", frequencies.sizes(), " and ", z.sizes());
  TORCH_CHECK(weights.dim() == 1 && weights.size(0) == z.size(1), "distance_weighted_sums: weights must be (", z.size(1), "), are ",
              weights.sizes());
  TORCH_CHECK(temperature > 0, "distance_weighted_sums: temperature must be positive, is ", temperature);
  return wants_grad(z) ? DistanceWeightedSums::apply(z, frequencies, weights, temperature, map)
                       : forward_op(z, frequencies, weights, temperature, map);
}

}  // namespace

Tensor distance_weighted_sums(const Tensor& z, const Tensor& frequencies, const Tensor& weights, double temperature, FeatureMap map) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, double, std::string_view)>("entrain::distance_weighted_sums");
  return op.call(z, frequencies, weights, temperature, feature_map_name(map));
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("distance_weighted_sums(Tensor z, Tensor frequencies, Tensor weights, float temperature, str map) -> Tensor", with_autograd);
  m.def("distance_weighted_sums_forward(Tensor z, Tensor frequencies, Tensor weights, float temperature, str map) -> Tensor");
  m.def("distance_weighted_sums_backward(Tensor grad, Tensor z, Tensor frequencies, Tensor weights, float temperature, str map) -> Tensor");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("distance_weighted_sums_forward", reference::distance_weighted_sums_forward);
  m.impl("distance_weighted_sums_backward", reference::distance_weighted_sums_backward);
}

}  // namespace entrain::ops
