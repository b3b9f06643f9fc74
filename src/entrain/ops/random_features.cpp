// Sums of random features: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/pairs_reference.h"

namespace entrain::ops {
namespace reference {
namespace {

constexpr int64_t kPositionsAtOnce = 4096;  // of all groups together, where they are not more than that

// Calls body(first position, number) so that one run's features of all groups fit in memory whatever n is.
template <class Body>
void for_each_chunk(const Tensor& z, const Body& body) {
  const int64_t n = z.size(1), step = std::max<int64_t>(1, kPositionsAtOnce / std::max<int64_t>(1, z.size(0)));
  for (int64_t begin = 0; begin < n; begin += step) body(begin, std::min(step, n - begin));
}

bool is_trigonometric(std::string_view map) {
  TORCH_CHECK(map == "trigonometric" || map == "positive", "feature map must be trigonometric or positive, is ", map);
  return map == "trigonometric";
}

int64_t n_features(const Tensor& frequencies, std::string_view map) { return frequencies.size(0) * (is_trigonometric(map) ? 2 : 1); }

}  // namespace

Tensor features(const Tensor& x, const Tensor& frequencies, double temperature, std::string_view map) {
  const double scale = 1 / std::sqrt(static_cast<double>(frequencies.size(0)));
  const Tensor wide = widen(x), angles = at::matmul(wide, frequencies.t().to(wide.scalar_type()));
  if (is_trigonometric(map)) return at::cat({angles.cos(), angles.sin()}, -1).mul_(scale);
  return (angles - wide.square().sum(-1, /*keepdim=*/true) / (2 * temperature)).exp_().mul_(scale);
}

Tensor features_backward(const Tensor& phi_grad, const Tensor& phi, const Tensor& x, const Tensor& frequencies, double temperature,
                         std::string_view map) {
  const int64_t m = frequencies.size(0);
  const Tensor w = frequencies.to(phi.scalar_type());
  if (is_trigonometric(map)) {
    const auto cos_of = [m](const Tensor& t) { return t.narrow(-1, 0, m); };
    const auto sin_of = [m](const Tensor& t) { return t.narrow(-1, m, m); };
    return at::matmul(sin_of(phi_grad) * cos_of(phi) - cos_of(phi_grad) * sin_of(phi), w);
  }
  const Tensor slope = phi_grad * phi;
  return at::matmul(slope, w) - widen(x) * (slope.sum(-1, /*keepdim=*/true) / temperature);
}

Tensor feature_sum_forward(const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
  Tensor sum = at::zeros({z.size(0), n_features(frequencies, map)}, z.options().dtype(widen(z).scalar_type()));
  for_each_chunk(z, [&](int64_t begin, int64_t n) { sum.add_(features(z.narrow(1, begin, n), frequencies, temperature, map).sum(1)); });
  return sum;
}

Tensor feature_sum_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
  Tensor dz = at::empty_like(z);
  for_each_chunk(z, [&](int64_t begin, int64_t n) {
    const Tensor x = z.narrow(1, begin, n), phi = features(x, frequencies, temperature, map);
    dz.narrow(1, begin, n).copy_(features_backward(grad.unsqueeze(1), phi, x, frequencies, temperature, map));
  });
  return dz;
}

Tensor feature_dot_forward(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, std::string_view map) {
  Tensor dots = at::empty({z.size(0), z.size(1)}, sum.options());
  for_each_chunk(z, [&](int64_t begin, int64_t n) {
    const Tensor phi = features(z.narrow(1, begin, n), frequencies, temperature, map);
    dots.narrow(1, begin, n).copy_(at::bmm(phi, sum.unsqueeze(2)).squeeze(2));
  });
  return dots;
}

std::tuple<Tensor, Tensor> feature_dot_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, const Tensor& sum,
                                                double temperature, std::string_view map) {
  Tensor dz = at::empty_like(z), dsum = at::zeros_like(sum);
  for_each_chunk(z, [&](int64_t begin, int64_t n) {
    const Tensor x = z.narrow(1, begin, n), g = grad.narrow(1, begin, n), phi = features(x, frequencies, temperature, map);
    const Tensor per_unit = features_backward(sum.unsqueeze(1), phi, x, frequencies, temperature, map);
    dz.narrow(1, begin, n).copy_(per_unit * g.unsqueeze(2));
    dsum.add_(at::bmm(g.unsqueeze(1), phi).squeeze(1));
  });
  return {dz, dsum};
}

}  // namespace reference

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor sum_op(const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, double, std::string_view)>("entrain::feature_sum_forward");
  return op.call(z, frequencies, temperature, map);
}

Tensor dot_op(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, std::string_view map) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, double, std::string_view)>("entrain::feature_dot_forward");
  return op.call(z, frequencies, sum, temperature, map);
}

void save(AutogradContext* ctx, variable_list tensors, double temperature, std::string_view map) {
  ctx->save_for_backward(std::move(tensors));
  ctx->saved_data["temperature"] = temperature;
  ctx->saved_data["map"] = std::string(map);
}

struct FeatureSum : torch::autograd::Function<FeatureSum> {
  static Tensor forward(AutogradContext* ctx, const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
    save(ctx, {z, frequencies}, temperature, map);
    return sum_op(z, frequencies, temperature, map);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    static const auto op =
        find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, double, std::string_view)>("entrain::feature_sum_backward");
    const auto saved = ctx->get_saved_variables();
    const std::string map = ctx->saved_data["map"].toStringRef();
    return {op.call(grads[0], saved[0], saved[1], ctx->saved_data["temperature"].toDouble(), map), {}, {}, {}};
  }
};

struct FeatureDot : torch::autograd::Function<FeatureDot> {
  static Tensor forward(AutogradContext* ctx, const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature,
                        std::string_view map) {
    save(ctx, {z, frequencies, sum}, temperature, map);
    return dot_op(z, frequencies, sum, temperature, map);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double,
                                                              std::string_view)>("entrain::feature_dot_backward");
    const auto saved = ctx->get_saved_variables();
    const std::string map = ctx->saved_data["map"].toStringRef();
    auto [dz, dsum] = op.call(grads[0], saved[0], saved[1], saved[2], ctx->saved_data["temperature"].toDouble(), map);
    return {dz, {}, dsum, {}, {}};
  }
};

void check(const char* name, const Tensor& z, const Tensor& frequencies, double temperature) {
  TORCH_CHECK(z.dim() == 3 && z.is_floating_point() && frequencies.dim() == 2 && frequencies.size(0) > 0 && frequencies.size(1) == z.size(2),
              name, ": frequencies must be (m, d) for floating z (G, n, d), are ", frequencies.sizes(), " and ", z.sizes());
  TORCH_CHECK(temperature > 0, name, ": temperature must be positive, is ", temperature);
}

Tensor sum_with_autograd(const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
  check("feature_sum", z, frequencies, temperature);
  return wants_grad(z) ? FeatureSum::apply(z, frequencies, temperature, map) : sum_op(z, frequencies, temperature, map);
}

Tensor dot_with_autograd(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, std::string_view map) {
  check("feature_dot", z, frequencies, temperature);
  const int64_t width = frequencies.size(0) * (reference::is_trigonometric(map) ? 2 : 1);
  TORCH_CHECK(sum.dim() == 2 && sum.size(0) == z.size(0) && sum.size(1) == width && sum.scalar_type() == widen(z).scalar_type(),
              "feature_dot: sum must be (", z.size(0), ", ", width, ") ", widen(z).scalar_type(), ", is ", sum.sizes(), " ", sum.scalar_type());
  return wants_grad(z, sum) ? FeatureDot::apply(z, frequencies, sum, temperature, map) : dot_op(z, frequencies, sum, temperature, map);
}

}  // namespace

std::string_view feature_map_name(FeatureMap map) { return map == FeatureMap::kTrigonometric ? "trigonometric" : "positive"; }

Tensor feature_sum(const Tensor& z, const Tensor& frequencies, double temperature, FeatureMap map) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, double, std::string_view)>("entrain::feature_sum");
  return op.call(z, frequencies, temperature, feature_map_name(map));
}

Tensor feature_dot(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, FeatureMap map) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, double, std::string_view)>("entrain::feature_dot");
  return op.call(z, frequencies, sum, temperature, feature_map_name(map));
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("feature_sum(Tensor z, Tensor frequencies, float temperature, str map) -> Tensor", sum_with_autograd);
  m.def("feature_sum_forward(Tensor z, Tensor frequencies, float temperature, str map) -> Tensor");
  m.def("feature_sum_backward(Tensor grad, Tensor z, Tensor frequencies, float temperature, str map) -> Tensor");
  m.def("feature_dot(Tensor z, Tensor frequencies, Tensor sum, float temperature, str map) -> Tensor", dot_with_autograd);
  m.def("feature_dot_forward(Tensor z, Tensor frequencies, Tensor sum, float temperature, str map) -> Tensor");
  m.def("feature_dot_backward(Tensor grad, Tensor z, Tensor frequencies, Tensor sum, float temperature, str map)"
        " -> (Tensor z_grad, Tensor sum_grad)");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("feature_sum_forward", reference::feature_sum_forward);
  m.impl("feature_sum_backward", reference::feature_sum_backward);
  m.impl("feature_dot_forward", reference::feature_dot_forward);
  m.impl("feature_dot_backward", reference::feature_dot_backward);
}

}  // namespace entrain::ops
