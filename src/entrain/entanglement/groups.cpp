#include "entrain/entanglement/groups.h"

#include <ATen/ATen.h>

#include "entrain/entanglement/ranks.h"

namespace entrain::entanglement {
namespace {

std::vector<int64_t> with_tail(std::vector<int64_t> head, const Tensor& x, int64_t from) {
  for (int64_t axis = from; axis < x.dim(); ++axis) head.push_back(x.size(axis));
  return head;
}

}  // namespace

bool is_by_row(const Config& config) { return config.scope == "sequence" || config.loss == "contraclm"; }

Tensor to_groups(const Tensor& x, const Config& config, const Context& context) {
  const int64_t rows = x.size(0), positions = x.size(1);
  if (!is_by_row(config)) return x.reshape(with_tail({1, rows * positions}, x, 2));
  if (context.views == 1) return x;
  return x.reshape(with_tail({2, rows / 2, positions}, x, 2)).transpose(0, 1).reshape(with_tail({rows / 2, 2 * positions}, x, 2));
}

Tensor from_groups(const Tensor& x, const Config& config, const Context& context) {
  const std::vector<int64_t> flat = with_tail({x.size(0) * x.size(1)}, x, 2);
  if (!is_by_row(config) || context.views == 1) return x.reshape(flat);
  return x.reshape(with_tail({x.size(0), 2, x.size(1) / 2}, x, 2)).transpose(0, 1).reshape(flat);
}

Communicator* group_ranks(const Config& config, const Context& context) { return is_by_row(config) ? nullptr : context.ranks; }

int64_t group_size(const Config& config, int64_t rows, int64_t positions, int64_t views, int64_t n_ranks) {
  return is_by_row(config) ? views * positions : rows * positions * n_ranks;
}

int64_t group_size(const Tensor& groups, const Config& config, const Context& context) { return groups.size(1) * number_of(group_ranks(config, context)); }

}  // namespace entrain::entanglement
