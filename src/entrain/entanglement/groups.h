#pragma once
// Which positions are compared with each other: those of one group.

#include <cstdint>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"

namespace entrain::entanglement {

/// Whether a position is compared with those of its own row alone: scope `sequence`, and the loss `contraclm` whatever the scope.
bool is_by_row(const Config& config);

/// (B, T, ...) -> (G, n, ...). One group of all positions, or, by row, one group a row, both views of a row together.
Tensor to_groups(const Tensor& x, const Config& config, const Context& context);

/// The inverse: (G, n, ...) -> (B T, ...), positions row by row.
Tensor from_groups(const Tensor& x, const Config& config, const Context& context);

/// The ranks a group spans: those of the context, null by row.
Communicator* group_ranks(const Config& config, const Context& context);

/// Positions of a group on all ranks together, a position's candidates and itself: what the way of summing over pairs is chosen by. rows: of
/// every rank's micro-batch, those of all views counted; positions: of a row.
int64_t group_size(const Config& config, int64_t rows, int64_t positions, int64_t views, int64_t n_ranks);

/// The same of groups that to_groups() made.
int64_t group_size(const Tensor& groups, const Config& config, const Context& context);

}  // namespace entrain::entanglement
