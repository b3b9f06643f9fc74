#pragma once
// Losses on moments and characteristic functions of all positions: no pairs, O(n). losses.h gives their equations and sources.

#include <string>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"
#include "entrain/entanglement/positives.h"

namespace entrain::entanglement {

bool is_moment_loss(const std::string& name);

/// The one of them config.loss names. v: (n, d), n = B T positions row by row, at least 2 on all ranks.
Tensor moment_loss(const Tensor& v, const Config& config, const Context& context, const Positives& positives);

}  // namespace entrain::entanglement
