#pragma once
// Recipe table [memory]: rows chosen by hashed n-grams, added inside the model (docs/methods/memory.md).

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/base/config.h"

namespace entrain::model {

struct MemoryConfig {
  int64_t rows = 0;
  std::vector<double> orders = {2, 3};
  int64_t heads = 1;
  std::vector<double> blocks = {0};
  std::string into = "residual";
  int64_t width = 0;
  bool sign = true;
  bool gate = false;
  double lr = 0.05;

  void bind(config::Binder& binder);
  /// Fills `width` where it is 0. target_width: of what the rows are added to. Returns every reason why it cannot work in a model of
  /// so many layers; none where it is off.
  std::vector<std::string> resolve(int64_t layers, int64_t target_width);
  bool operator==(const MemoryConfig&) const = default;

  bool is_on() const { return rows > 0; }
  bool into_values() const { return into == "values"; }
  int64_t n_tables() const { return static_cast<int64_t>(orders.size()) * heads; }
  int64_t table_parameters() const { return n_tables() * rows * width; }  ///< once resolved
  int64_t max_order() const;
};

/// Weights of the projection between rows and what they are added to, (target width, width); 0 where the widths are equal.
int64_t projection_parameters(const MemoryConfig& config, int64_t target_width);

/// FLOPs of one position besides the projection's matrix product. Each of its `bag` tokens reads a row of each table, returns a gradient
/// to it and updates it: 2 + 2 + 4 a channel and table. Each chosen block scales and adds the sum and returns two gradients: 6 a
/// channel; a gate's norms, product and sigmoid take 11 forward and twice that backward. Hashes are integers and not counted.
double memory_flops_per_position(const MemoryConfig& config, int64_t target_width, int64_t bag);

}  // namespace entrain::model
