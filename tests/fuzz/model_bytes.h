#pragma once

#include "entrain/model/weight_shapes.h"

namespace entrain::fuzz {

/// Bytes of the float32 weights of a model of this shape, and of what forward mixing draws: what loading it takes memory for.
inline double model_bytes(const model::Config& config) {
  double n_numbers = config.mixing.is_on() ? static_cast<double>(config.mixing.features) * static_cast<double>(config.mixing.width) : 0;
  const auto add = [&](const model::Shapes& shapes) {
    for (const auto& [name, shape] : shapes) {
      double n = 1;
      for (const int64_t size : shape) n *= static_cast<double>(size);
      n_numbers += n;
    }
  };
  add(model::outer_shapes(config));
  add(model::memory_shapes(config));
  for (int64_t layer = 0; layer < config.layers; ++layer) add(model::block_shapes(config, layer));
  return 4 * n_numbers;
}

}  // namespace entrain::fuzz
