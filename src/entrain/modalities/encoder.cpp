#include "entrain/modalities/encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "entrain/ops/ops.h"

namespace entrain::modalities {
namespace {

uint64_t encoder_seed(uint64_t seed, const std::string& modality) { return stream(seed, "encoder/" + modality).next_u64(); }

model::Config shape(const Config& config, const Modality& modality) {
  model::Config c;
  c.width = config.width;
  c.layers = config.layers;
  c.heads = config.heads;
  c.vocab_size = std::max<int64_t>(modality.vocab_size, 1);  // frames leave the embedding unread
  c.init_std = 1.0 / std::sqrt(static_cast<double>(config.width));
  c.dropout = config.dropout;
  c.resolve();
  return c;
}

void fill_normal(const Tensor& tensor, RandomStream random, double deviation) {
  at::NoGradGuard no_grad;
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(deviation * random.next_normal());
}

}  // namespace

Encoder::Encoder(const Config& config, const Modality& modality, uint64_t seed) : transformer_(shape(config, modality), encoder_seed(seed, modality.name)) {
  const uint64_t own_seed = encoder_seed(seed, modality.name);
  if (modality.frame_width > 0) {
    frame_weight_ = around_.add(model::Role::kMatrix, "frames.weight", {config.width, modality.frame_width});
    frame_bias_ = around_.add(model::Role::kBias, "frames.bias", {config.width});
    fill_normal(frame_weight_, stream(own_seed, "init/frames.weight"), 1.0 / std::sqrt(static_cast<double>(modality.frame_width)));
  }
  projection_ = around_.add(model::Role::kMatrix, "projection.weight", {config.d, config.width});
  fill_normal(projection_, stream(own_seed, "init/projection.weight"), 1.0 / std::sqrt(static_cast<double>(config.width)));
}

Tensor Encoder::encode(const Padded& batch, RandomStream* dropout) const {
  model::Forward forward;
  forward.dropout = dropout;
  if (frame_weight_.defined()) forward.embedded = ops::linear(batch.values, frame_weight_, frame_bias_);
  const Tensor hidden = transformer_.hidden(frame_weight_.defined() ? Tensor() : batch.values, forward);
  const Tensor mean = at::bmm(batch.weights.unsqueeze(1), hidden).squeeze(1);
  const Tensor z = at::linear(mean, projection_);
  return z / z.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

double Encoder::training_flops(int64_t rows, int64_t positions) const {
  const model::Config& c = transformer_.config();
  double per_position = model::training_flops_per_position(c, positions) - 6.0 * static_cast<double>(c.vocab_size * c.width);
  if (frame_weight_.defined()) per_position += 6.0 * static_cast<double>(frame_weight_.numel());
  return static_cast<double>(rows) * (static_cast<double>(positions) * per_position + 6.0 * static_cast<double>(projection_.numel()));
}

}  // namespace entrain::modalities
