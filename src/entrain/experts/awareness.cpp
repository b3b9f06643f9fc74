#include "entrain/experts/awareness.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "entrain/base/error.h"

namespace entrain::experts {
namespace {

/// (n): depth over the deepest of the sheet.
Tensor depth_share(const Sheet& sheet) {
  std::vector<double> depths;
  for (const Question& q : sheet.questions) depths.push_back(static_cast<double>(q.item.depth));
  const double deepest = *std::max_element(depths.begin(), depths.end());
  return at::tensor(depths, at::kDouble) / deepest;
}

Tensor find(const std::vector<std::pair<std::string, Tensor>>& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  throw Error(ErrorKind::kData, "the pool's heads lack " + name, "train the pool again: entrain experts train");
}

}  // namespace

AwarenessHeads AwarenessHeads::fit(const Sheet& sheet, const Tensor& before, const Tensor& after, const Tensor& correct) {
  const Tensor cheap = sheet.correct[sheet.cheapest()], dear = sheet.correct[sheet.dearest()];
  const Tensor targets = at::cat({at::stack({correct, depth_share(sheet), cheap, (1 - cheap) * dear}, 1), sheet.correct.t()}, 1);
  AwarenessHeads heads;
  heads.before_ = fit_logistic(before, targets);
  heads.after_ = fit_logistic(after, correct.unsqueeze(1));
  return heads;
}

AwarenessHeads AwarenessHeads::fit(const Sheet& sheet, int64_t i) {
  const Answers& answers = sheet.answers[static_cast<size_t>(i)];
  return fit(sheet, answers.before, answers.after, sheet.correct[i]);
}

Awareness AwarenessHeads::judge(const Tensor& before, const Tensor& after) const {
  const Tensor b = before_.predict(before);
  return {b.select(1, 0), after_.predict(after).select(1, 0), b.select(1, 1), b.select(1, 2), b.select(1, 3), b.narrow(1, 4, b.size(1) - 4)};
}

model::NamedTensors AwarenessHeads::state(const std::string& prefix) const {
  return {{prefix + "before.weight", before_.weight}, {prefix + "before.bias", before_.bias}, {prefix + "after.weight", after_.weight}, {prefix + "after.bias", after_.bias}};
}

AwarenessHeads AwarenessHeads::from(const std::vector<std::pair<std::string, Tensor>>& tensors, const std::string& prefix) {
  AwarenessHeads heads;
  heads.before_ = {find(tensors, prefix + "before.weight"), find(tensors, prefix + "before.bias")};
  heads.after_ = {find(tensors, prefix + "after.weight"), find(tensors, prefix + "after.bias")};
  return heads;
}

Tensor max_probability(const Answers& answers) { return std::get<0>(answers.probabilities.max(1)).to(at::kDouble); }

Tensor margin(const Answers& answers) {
  const Tensor top = std::get<0>(answers.probabilities.topk(2, 1));
  return (top.select(1, 0) - top.select(1, 1)).to(at::kDouble);
}

Tensor negative_entropy(const Answers& answers) {
  const Tensor p = answers.probabilities.to(at::kDouble).clamp_min(1e-12);
  return (p * p.log()).sum(1);
}

}  // namespace entrain::experts
