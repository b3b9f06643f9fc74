#include "entrain/statistics/contract.h"

#include <cmath>
#include <string>

#include "entrain/base/error.h"

namespace entrain::statistics {

void check_finite(std::span<const double> values) {
  for (const double value : values) ENTRAIN_CHECK(std::isfinite(value), "a value is " + std::to_string(value));
}

void check_confidence(double confidence) { ENTRAIN_CHECK(confidence > 0 && confidence < 1, "confidence " + std::to_string(confidence)); }

void check_labels(std::span<const uint8_t> labels, size_t n_items) {
  ENTRAIN_CHECK(labels.size() == n_items, std::to_string(labels.size()) + " labels of " + std::to_string(n_items) + " items");
  for (const uint8_t label : labels) ENTRAIN_CHECK(label <= 1, "a label is " + std::to_string(label));
}

}  // namespace entrain::statistics
