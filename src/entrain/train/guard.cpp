#include "entrain/train/guard.h"

#include <cmath>

#include "entrain/base/error.h"
#include "entrain/base/files.h"

namespace entrain::train {
namespace {

std::string name_of_non_finite(const model::Parameters& parameters) {
  for (const model::Weight& weight : parameters.weights()) {
    const Tensor gradient = parameters.gradient(weight);
    if (gradient.defined() && !at::isfinite(gradient).all().item<bool>()) return "the gradient of " + weight.name;
  }
  for (const model::RowTable& table : parameters.tables()) {
    const auto gradient = parameters.gradient(table);
    if (gradient && !at::isfinite(gradient->values).all().item<bool>()) return "the gradient of " + table.name;
  }
  return "the gradient's norm";
}

}  // namespace

double guard_and_clip(const model::Parameters& parameters, double loss, double limit, int64_t step, int64_t cursor, const text::Batch& batch) {
  std::vector<Tensor> gradients;
  for (const Tensor& tensor : parameters.stored()) {
    if (tensor.grad().defined()) gradients.push_back(tensor.grad());
  }
  for (const model::RowTable& table : parameters.tables()) {
    if (const auto gradient = parameters.gradient(table)) gradients.push_back(gradient->values);
  }
  const double norm = at::stack(at::_foreach_norm(gradients)).norm().item<double>();
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    const std::string culprit = std::isfinite(loss) ? name_of_non_finite(parameters) : "the loss";
    const std::string_view bytes(reinterpret_cast<const char*>(batch.inputs.data()), batch.inputs.size() * sizeof(int64_t));
    throw Error(ErrorKind::kNumeric,
                culprit + " is not finite at step " + std::to_string(step) + ", batch " + to_hex(checksum(bytes)) + " at data cursor " + std::to_string(cursor) +
                    "; the weights were not updated",
                "lower the learning rate, lengthen the warm-up or clip harder, then start from an earlier checkpoint");
  }
  if (limit > 0 && norm > limit) at::_foreach_mul_(gradients, limit / (norm + 1e-6));
  return norm;
}

}  // namespace entrain::train
