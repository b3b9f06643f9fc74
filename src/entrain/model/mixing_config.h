#pragma once
// Recipe table [mixing] (docs/methods/entanglement.md).

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/base/config.h"

namespace entrain::model {

/// Positions whose pairs forward mixing sums at once; its FLOPs depend on it.
inline constexpr int64_t kMixingChunk = 64;

struct MixingConfig {
  std::vector<double> blocks = {};
  int64_t width = 64;
  int64_t features = 128;
  double temperature = 0.5;

  void bind(config::Binder& binder);
  /// Every reason why it cannot work in a model of this shape; none where it is off.
  std::vector<std::string> problems(int64_t layers, int64_t model_width) const;
  bool operator==(const MixingConfig&) const = default;
  bool is_on() const { return !blocks.empty(); }
};

/// FLOPs of one position, forward and backward.
double mixing_flops_per_position(const MixingConfig& config, int64_t model_width);

}  // namespace entrain::model
