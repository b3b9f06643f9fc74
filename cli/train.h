#pragma once
// A training run in the foreground.

#include <string>

#include "entrain/train/trainer.h"

namespace entrain::cli {

/// Trains and says on standard error how it goes, each line behind `label`. Throws Exit{130} when it was stopped.
void train_recipe(const train::Recipe& recipe, const fs::path& run, train::Start start, const std::string& label = "");

}  // namespace entrain::cli
