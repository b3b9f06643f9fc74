#pragma once
// Which positions are compared with each other: those of one group.

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"

namespace entrain::entanglement {

/// (B, T, ...) -> (G, n, ...). Scope `batch`: one group of all positions. `sequence`: one group a row, both views of a row together.
Tensor to_groups(const Tensor& x, const Config& config, const Context& context);

/// The inverse: (G, n, ...) -> (B T, ...), positions row by row.
Tensor from_groups(const Tensor& x, const Config& config, const Context& context);

/// The ranks a group spans: those of the context for scope `batch`, null for `sequence`.
Communicator* group_ranks(const Config& config, const Context& context);

}  // namespace entrain::entanglement
