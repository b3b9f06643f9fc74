#include "entrain/model/mixing_config.h"

#include "entrain/model/blocks.h"

namespace entrain::model {

void MixingConfig::bind(config::Binder& b) {
  b.section("mixing", "Forward mixing: states receive a kernel-weighted mean of those before them. An ablation; changes the model (docs/methods/entanglement.md).");
  b.bind("blocks", &blocks, "blocks at whose `hook_resid_mid` it stands, counted from 0; empty: off");
  b.bind("width", &width, "d, width of the projection").range(2, 65536);
  b.bind("features", &features, "m, positive random features").range(1, 1 << 20);
  b.bind("temperature", &temperature, "tau of the kernel e^(z.z / tau)").range(0.25, 100);
}

std::vector<std::string> MixingConfig::problems(int64_t layers, int64_t model_width) const {
  std::vector<std::string> found = block_problems("mixing.blocks", blocks, layers);
  if (is_on() && width > model_width) found.push_back("mixing.width (" + std::to_string(width) + ") is larger than model.width (" + std::to_string(model_width) + ")");
  return found;
}

double mixing_flops_per_position(const MixingConfig& config, int64_t model_width) {
  const double d = static_cast<double>(config.width), m = static_cast<double>(config.features);
  const double projections = 2 * static_cast<double>(model_width) * d, sums = 2 * (kMixingChunk / 2.0 * m + kMixingChunk / 2.0 * d) + 4 * m * d;
  return static_cast<double>(config.blocks.size()) * 3.0 * (2 * projections + 2 * d * m + sums);
}

}  // namespace entrain::model
