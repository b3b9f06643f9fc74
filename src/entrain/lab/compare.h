#pragma once
// `entrain compare`: an experiment whose plan comes from one recipe. The arms are the recipe's own, nothing is tuned, one seed is
// enough to look, and the plan may be changed at any time - which is why its verdicts are a first look and a lab's are not.

#include <string>
#include <vector>

#include "entrain/base/config.h"
#include "entrain/lab/plan.h"

namespace entrain::lab {

/// [compare] of a recipe.
struct CompareConfig {
  std::vector<double> ladder;
  int64_t resamples = 10000;
  int64_t block_tokens = 2048;
  std::string prompt;
  int64_t sample_tokens = 80;

  void bind(config::Binder& binder);
};

/// The plan of a recipe with [arms.NAME] tables and an optional [compare]: seeds train.seed, train.seed + 1, ..., budgets matched as
/// budget.match says, judged by the loss. Throws one Error{kUsage} naming arm and problem.
Plan plan_of_recipe(config::Document recipe, int64_t n_seeds);

}  // namespace entrain::lab
