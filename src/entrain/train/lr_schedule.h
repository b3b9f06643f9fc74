#pragma once
// The learning rate as a pure function of the share of the budget spent.

#include "entrain/train/recipe.h"

namespace entrain::train {

/// Multiplier of the peak rate for the step that takes the run from `before` to `after` (shares of the budget, 0..1).
/// The warm-up reads `after`, so the first step is not lost; the decay reads `before`, so the last step is not either.
/// wsd's 1-sqrt decay: arXiv 2405.18392, section 4.
double lr_multiplier(const ScheduleConfig& config, double before, double after);

}  // namespace entrain::train
