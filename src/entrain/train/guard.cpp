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

std::vector<Tensor> gradients_of(std::span<const model::Parameters* const> all) {
  std::vector<Tensor> gradients;
  for (const model::Parameters* parameters : all) {
    for (const Tensor& tensor : parameters->stored()) {
      if (tensor.grad().defined()) gradients.push_back(tensor.grad());
    }
    for (const model::RowTable& table : parameters->tables()) {
      if (const auto gradient = parameters->gradient(table)) gradients.push_back(gradient->values);
    }
  }
  return gradients;
}

double norm_of(const std::vector<Tensor>& gradients) { return at::stack(at::_foreach_norm(gradients)).norm().item<double>(); }

void scale_to(double limit, double norm, const std::vector<Tensor>& gradients) {
  if (limit > 0 && norm > limit) at::_foreach_mul_(gradients, limit / (norm + 1e-6));
}

}  // namespace

double guard_and_clip(const model::Parameters& parameters, double loss, double limit, int64_t step, int64_t cursor, const text::Batch& batch) {
  const model::Parameters* const all[] = {&parameters};
  const std::vector<Tensor> gradients = gradients_of(all);
  const double norm = norm_of(gradients);
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    const std::string culprit = std::isfinite(loss) ? name_of_non_finite(parameters) : "the loss";
    const std::string_view bytes(reinterpret_cast<const char*>(batch.inputs.data()), batch.inputs.size() * sizeof(int64_t));
    throw Error(ErrorKind::kNumeric,
                culprit + " is not finite at step " + std::to_string(step) + ", batch " + to_hex(checksum(bytes)) + " at data cursor " + std::to_string(cursor) +
                    "; the weights were not updated",
                "lower the learning rate, lengthen the warm-up or clip harder, then start from an earlier checkpoint");
  }
  scale_to(limit, norm, gradients);
  return norm;
}

double clip_gradients(std::span<model::Parameters* const> parameters, double limit) {
  const std::vector<const model::Parameters*> all(parameters.begin(), parameters.end());
  const std::vector<Tensor> gradients = gradients_of(all);
  if (gradients.empty()) return 0;
  const double norm = norm_of(gradients);
  if (!std::isfinite(norm)) throw Error(ErrorKind::kNumeric, "a gradient is not finite; the weights were not updated", "lower the learning rate");
  scale_to(limit, norm, gradients);
  return norm;
}

}  // namespace entrain::train
