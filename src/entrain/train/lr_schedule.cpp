#include "entrain/train/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace entrain::train {

double lr_multiplier(const ScheduleConfig& c, double before, double after) {
  if (after < c.warmup) return after / c.warmup;
  const auto falling = [&](double shape) { return c.final_lr + (1.0 - c.final_lr) * shape; };
  const double main = c.warmup < 1.0 ? std::clamp((before - c.warmup) / (1.0 - c.warmup), 0.0, 1.0) : 0.0;
  if (c.name == "cosine") return falling(0.5 * (1.0 + std::cos(std::numbers::pi * main)));
  if (c.name == "linear") return falling(1.0 - main);
  if (c.name == "wsd" && c.decay > 0.0) {
    const double decayed = std::clamp((before - (1.0 - c.decay)) / c.decay, 0.0, 1.0);
    return falling(c.decay_shape == "linear" ? 1.0 - decayed : 1.0 - std::sqrt(decayed));
  }
  return 1.0;
}

}  // namespace entrain::train
