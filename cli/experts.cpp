// entrain experts tasks | train | eval | ask | predictions | trace

#include "cli/experts.h"

namespace entrain::cli {

void add_experts(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("experts", "pools of models that observe each other, and a coordinator that knows whom to ask");
  verb->require_subcommand(1);
  for (const auto add : {add_experts_tasks, add_experts_train, add_experts_eval, add_experts_ask, add_experts_predictions, add_experts_trace}) add(*verb);
}

}  // namespace entrain::cli
