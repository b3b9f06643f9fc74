#include "entrain/superposition/schedule.h"

namespace entrain::superposition {

void Config::bind(config::Binder& b) {
  b.section("superposition", "Token superposition: a first share of training on bags of averaged tokens (docs/methods/superposition.md).");
  b.bind("mode", &mode, "`full`: bags in, next bag out; `input`: bags in, next token out; `output`: tokens in, next s tokens out (reads no extra data)")
      .one_of({"none", "full", "input", "output"});
  b.bind("bag", &bag, "s, tokens in a bag; 4 to 8 is the published robust range").range(1, 256);
  b.bind("ratio", &ratio, "r, share of the steps that are superposed; 0.1 to 0.3 is the published robust range").range(0, 1);
  b.bind("weights", &weights, "of the targets in a bag: `uniform`, or `harmonic` (1/i), which helps only from s = 9 on").one_of({"uniform", "harmonic"});
}

StepPlan Schedule::at(double fraction) const {
  // The tolerance keeps step k of n with k/n == r in the second phase whatever the rounding of r.
  if (config_.mode == "none" || fraction + 1e-9 >= config_.ratio) return {};
  StepPlan plan;
  if (config_.mode != "output") plan.bag = config_.bag;
  if (config_.mode != "input") plan.target_bag = config_.bag;
  if (config_.weights == "harmonic" && plan.target_bag > 1) {
    double sum = 0;
    for (int64_t i = 1; i <= plan.target_bag; ++i) sum += 1.0 / static_cast<double>(i);
    for (int64_t i = 1; i <= plan.target_bag; ++i) plan.weights.push_back(static_cast<float>(1.0 / (static_cast<double>(i) * sum)));
  }
  return plan;
}

}  // namespace entrain::superposition
