#pragma once
// Between backward and update: a non-finite loss or gradient ends the run before it can spoil the weights.

#include <span>

#include "entrain/model/parameters.h"
#include "entrain/text/batch_source.h"

namespace entrain::train {

/// Scales the gradients so that their joint norm is at most `limit` (0: no limit) and returns the norm before.
/// Throws Error{kNumeric} naming step, tensor and batch when the loss or a gradient is not finite.
double guard_and_clip(const model::Parameters& parameters, double loss, double limit, int64_t step, int64_t cursor, const text::Batch& batch);

/// The same for several sets of weights under one joint norm, without a batch to name: throws Error{kNumeric} when it is not finite.
double clip_gradients(std::span<model::Parameters* const> parameters, double limit);

}  // namespace entrain::train
