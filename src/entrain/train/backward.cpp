#include "entrain/train/backward.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/ops/ops.h"
#include "entrain/train/distillation.h"

namespace entrain::train {
namespace {

/// The rows twice, one copy after the other.
text::Batch doubled(const text::Batch& batch) {
  text::Batch both = batch;
  both.rows *= 2;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(both.inputs, batch.inputs);
  append(both.targets, batch.targets);
  append(both.segments, batch.segments);
  return both;
}

}  // namespace

double backward(model::Transformer& model, const text::Batch& batch, const superposition::StepPlan& plan, const BackwardOptions& options) {
  model.parameters().clear_gradients();
  auto targets_of = [](text::Batch& b) {
    return at::from_blob(b.targets.data(), {b.rows, b.positions, b.target_bag}, at::kLong);
  };
  text::Batch whole = batch;
  int64_t views = 1;
  if (options.methods != nullptr) {
    for (const auto& method : *options.methods) views = std::max(views, method->views());
  }
  ENTRAIN_CHECK(views <= 2, "views " + std::to_string(views));
  const double n_positions = static_cast<double>(views * std::max<int64_t>(ops::count_positions(targets_of(whole)), 1));  // of a batch without targets too
  const Tensor weights = plan.weights.empty() ? Tensor() : at::tensor(plan.weights);
  const int64_t part_rows = batch.rows / options.micro_batches;
  double loss = 0;
  for (int64_t part = 0; part < options.micro_batches; ++part) {
    text::Batch micro = text::slice_rows(batch, part * part_rows, (part + 1) * part_rows);
    if (views == 2) micro = doubled(micro);
    const int64_t rows = micro.rows;
    model::Taps taps(model.config().layers);
    if (options.methods != nullptr) {
      for (const auto& method : *options.methods) method->tap({options.step, options.fraction, part, options.micro_batches}, micro, taps);
    }
    RandomStream dropout = stream(options.seed, "dropout", static_cast<uint64_t>(options.step), static_cast<uint64_t>(part));
    model::Forward forward;
    forward.bag = plan.bag;
    forward.taps = taps.empty() ? nullptr : &taps;
    forward.dropout = &dropout;
    if (options.borders == text::Borders::kMask) forward.segments = at::from_blob(micro.segments.data(), {rows, micro.positions}, at::kInt);
    const Tensor inputs = at::from_blob(micro.inputs.data(), {rows, micro.positions * micro.bag}, at::kLong);
    const Tensor hidden = model.hidden(inputs, forward);
    Tensor part_loss = ops::head_cross_entropy(hidden, model.head(), targets_of(micro), weights, n_positions);
    if (options.teachers != nullptr) part_loss = options.teachers->mix(part_loss, hidden, model.head(), inputs, forward.segments, targets_of(micro), n_positions);
    part_loss.backward();
    loss += part_loss.item<double>();
  }
  return loss;
}

}  // namespace entrain::train
