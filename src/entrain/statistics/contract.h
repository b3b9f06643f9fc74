#pragma once
// What the functions of this folder demand of their input. Each throws std::logic_error naming what it found.

#include <cstdint>
#include <span>

namespace entrain::statistics {

/// No NaN, no infinity.
void check_finite(std::span<const double> values);
/// In (0, 1).
void check_confidence(double confidence);
/// As many labels as there are items, each 0 or 1.
void check_labels(std::span<const uint8_t> labels, size_t n_items);

}  // namespace entrain::statistics
