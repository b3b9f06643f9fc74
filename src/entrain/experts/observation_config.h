#pragma once
// How experts observe each other: the recipe table [observation].

#include <cstdint>
#include <string>

#include "entrain/base/config.h"

namespace entrain::experts {

struct ObservationConfig {
  std::string mode = "full";
  std::string positions = "all";
  std::string experts = "frozen";
  std::string judged_rounds = "last";
  std::string asker;
  int64_t rounds = 2;
  double depth = 0.5;
  int64_t width = 64;
  int64_t heads = 4;
  int64_t shift = 4;
  int64_t mlp_width = 128;
  int64_t slots = 16;
  int64_t summaries = 1;
  int64_t neighbours = 2;
  int64_t runs = 0;
  int64_t steps = 600;
  int64_t rows = 64;
  double lr = 2e-3;
  bool control = true;

  void bind(config::Binder& binder);
  /// One sentence for each value that cannot work with so many experts.
  std::vector<std::string> problems(int64_t n_experts) const;
};

}  // namespace entrain::experts
