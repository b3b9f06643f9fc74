#include "entrain/lab/compare.h"

namespace entrain::lab {

void CompareConfig::bind(config::Binder& b) {
  b.section("compare", "For `entrain compare` alone.");
  b.bind("ladder", &ladder, "further budgets, as shares of the whole, at which the baseline is trained to tell how much compute it would need; each has its own full decay");
  b.bind("resamples", &resamples, "of the bootstraps").range(100, 1e7);
  b.bind("block_tokens", &block_tokens, "held-out tokens in a unit of the bootstrap: neighbouring windows are not independent").range(1, 1e9);
  b.bind("prompt", &prompt, "start of the sample printed for each arm; empty: no samples");
  b.bind("sample_tokens", &sample_tokens, "length of those samples").range(1, 1 << 20);
}

Plan plan_of_recipe(config::Document recipe, int64_t n_seeds) {
  CompareConfig compare;
  config::Binder binder;
  compare.bind(binder);
  binder.read(recipe.take_section("compare"));

  const auto entry = [&](const std::string& key) -> const config::Value* {
    const auto found = recipe.entries().find(key);
    return found == recipe.entries().end() ? nullptr : &found->second.value;
  };
  const auto* seed = entry("train.seed");
  const auto* match = entry("budget.match");
  const double first = seed != nullptr && std::holds_alternative<int64_t>(*seed) ? static_cast<double>(std::get<int64_t>(*seed)) : static_cast<double>(train::LoopConfig{}.seed);
  std::vector<double> seeds;
  for (int64_t i = 0; i < n_seeds; ++i) seeds.push_back(first + static_cast<double>(i));
  recipe.set("lab.seeds", seeds);
  recipe.set("lab.match", match != nullptr ? *match : config::Value(train::BudgetConfig{}.match));
  recipe.set("lab.ladder", compare.ladder);
  recipe.set("metrics.unit", config::Value(std::string("block")));
  recipe.set("metrics.block_tokens", compare.block_tokens);
  recipe.set("metrics.resamples", compare.resamples);
  recipe.set("metrics.prompt", compare.prompt);
  recipe.set("metrics.sample_tokens", compare.sample_tokens);
  return Plan::from(std::move(recipe), {});
}

}  // namespace entrain::lab
