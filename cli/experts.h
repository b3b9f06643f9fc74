#pragma once
// The subcommands of `entrain experts`, one file each.

#include "cli/verbs.h"

namespace entrain::cli {

void add_experts_tasks(CLI::App& experts);
void add_experts_train(CLI::App& experts);
void add_experts_eval(CLI::App& experts);
void add_experts_ask(CLI::App& experts);
void add_experts_predictions(CLI::App& experts);
void add_experts_trace(CLI::App& experts);

}  // namespace entrain::cli
