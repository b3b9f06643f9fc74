#include "entrain/entanglement/layer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "entrain/base/random.h"
#include "entrain/entanglement/losses.h"
#include "entrain/entanglement/pair_sums.h"
#include "entrain/entanglement/positives.h"

namespace entrain::entanglement {
namespace {

/// (rows, columns) with orthonormal rows: projectors that start with equal singular values keep their rank longest
/// (Jing et al., arXiv 2110.09348).
Tensor orthonormal(int64_t rows, int64_t columns, RandomStream random) {
  const Tensor normal = at::empty({columns, rows}, at::kDouble);
  double* values = normal.data_ptr<double>();
  for (int64_t i = 0; i < normal.numel(); ++i) values[i] = random.next_normal();
  return std::get<0>(at::linalg_qr(normal)).t().contiguous().to(at::kFloat);
}

}  // namespace

/// Identity whose backward lets the gate add the side gradient found in the forward pass.
struct AddSideGradient : torch::autograd::Function<AddSideGradient> {
  /// schedule: the weight of this step over that without warm-up and decay.
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& h, const Tensor& side, int64_t layer, double schedule) {
    ctx->save_for_backward({side});
    ctx->saved_data["layer"] = layer;
    ctx->saved_data["schedule"] = schedule;
    return h.view_as(h);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    Layer& layer = *reinterpret_cast<Layer*>(ctx->saved_data["layer"].toInt());
    const Gated gated = apply_gate(layer.gate_, grads[0], ctx->get_saved_variables()[0], layer.config_.norm_cap);
    layer.pulse_.cosine = gated.cosine;
    layer.pulse_.gate_rate = gated.rate;
    layer.pulse_.side_ratio = gated.side_ratio / ctx->saved_data["schedule"].toDouble();
    layer.pulse_.ratio = gated.ratio;
    return {gated.gradient, {}, {}, {}};
  }
};

Layer::Layer(const Config& config, int64_t block, int64_t model_width, uint64_t seed, model::Parameters& parameters)
    : config_(config), gate_(gate_from_name(config.gate)), block_(block) {
  projection_ = parameters.add(model::Role::kMatrix, "entanglement.blocks." + std::to_string(block) + ".projection.weight", {config.width, model_width});
  at::NoGradGuard no_grad;
  projection_.copy_(orthonormal(config.width, model_width, stream(seed, "entanglement/projection", static_cast<uint64_t>(block))));
}

Tensor Layer::operator()(const Tensor& h, const Context& context, double weight, double share) {
  if (weight == 0) return h;
  const c10::AutoGradMode with_grad(true);
  const Tensor states = h.detach().requires_grad_(true), projection = projection_.detach().requires_grad_(true);
  const Tensor value = loss(at::linear(states, projection), config_, context, *make_positives(config_, context));
  pulse_.loss = value.item<double>();
  const auto gradients = torch::autograd::grad({value}, {states, projection}, {}, std::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
  if (!gradients[0].defined()) return h;  // no pair in this batch
  const Tensor side = gradients[1] * share;
  projection_.mutable_grad() = projection_.grad().defined() ? projection_.grad() + side : side;
  return AddSideGradient::apply(h, gradients[0] * (weight * share), reinterpret_cast<int64_t>(this), weight / config_.weight);
}

double weight_at(const Config& config, double fraction) {
  const double rise = config.warmup > 0 ? std::min(1.0, fraction / config.warmup) : 1.0;
  const double fall = config.decay > 0 ? std::clamp((1.0 - fraction) / config.decay, 0.0, 1.0) : 1.0;
  return config.weight * std::min(rise, fall);
}

double flops_per_pass(const Config& config, int64_t model_width, int64_t rows, int64_t positions, int64_t views, int64_t n_ranks) {
  const double n = static_cast<double>(rows * positions), d = static_cast<double>(config.width);
  return n * 6.0 * static_cast<double>(model_width) * d + pair_flops(config, rows, positions, views, n_ranks);
}

}  // namespace entrain::entanglement
