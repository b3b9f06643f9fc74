#include "entrain/model/memory.h"

#include <algorithm>
#include <cmath>

#include "entrain/ops/hashed_rows.h"
#include "entrain/ops/ops.h"

namespace entrain::model {

Memory::Memory(const MemoryConfig& config, int64_t target_width, double norm_eps, Parameters& parameters) : config_(config), norm_eps_(norm_eps) {
  for (const double order : config.orders) {
    for (int64_t head = 0; head < config.heads; ++head) {
      const std::string name = "memory." + std::to_string(static_cast<int64_t>(order)) + "-gram." + std::to_string(head) + ".rows";
      tables_.push_back(parameters.add_table(name, config.rows, config.width, config.lr));
    }
  }
  const auto n_blocks = static_cast<int64_t>(config.blocks.size());
  scales_ = parameters.add(Role::kNorm, "memory.scale", {n_blocks});
  if (config.gate) gates_ = parameters.add(Role::kNorm, "memory.gate", {n_blocks, target_width});
  if (config.width != target_width) projection_ = parameters.add(Role::kMatrix, "memory.projection", {target_width, config.width});
}

Tensor Memory::read(const Tensor& ids, const Forward& forward) const {
  Tensor all = ids, segments;
  if (forward.cache != nullptr) {
    if (forward.cache->recent_ids.defined()) all = at::cat({forward.cache->recent_ids, ids}, 1);
    const int64_t n_kept = std::min(config_.max_order() - 1, all.size(1));
    forward.cache->recent_ids = all.narrow(1, all.size(1) - n_kept, n_kept).clone();
  }
  if (forward.segments.defined()) {
    segments = forward.bag == 1 ? forward.segments : forward.segments.repeat_interleave(forward.bag, 1);
    segments = segments.narrow(1, segments.size(1) - all.size(1), all.size(1));
  }
  Tensor sum;
  for (size_t i = 0; i < tables_.size(); ++i) {
    const size_t heads = static_cast<size_t>(config_.heads);
    const Tensor keys = ops::ngram_keys(all, static_cast<int64_t>(config_.orders[i / heads]), static_cast<int64_t>(i % heads), segments);
    const Tensor rows = ops::hashed_rows(tables_[i], keys.narrow(1, all.size(1) - ids.size(1), ids.size(1)), forward.bag, config_.sign ? ops::Signs::kPerKey : ops::Signs::kNone);
    sum = sum.defined() ? sum + rows : rows;
  }
  return projection_.defined() ? ops::linear(sum, projection_) : sum;
}

Tensor Memory::add_to_residual(int64_t layer, const Tensor& x, const Tensor& features) const {
  return config_.into_values() ? x : add(layer, x, features);
}

Tensor Memory::add_to_values(int64_t layer, const Tensor& v, const Tensor& features) const {
  return config_.into_values() ? add(layer, v.flatten(2), features).view(v.sizes()) : v;
}

Tensor Memory::add(int64_t layer, const Tensor& state, const Tensor& features) const {
  const auto found = std::find(config_.blocks.begin(), config_.blocks.end(), static_cast<double>(layer));
  if (found == config_.blocks.end()) return state;
  const int64_t place = found - config_.blocks.begin();
  return add_memory(state, features, scales_.select(0, place), gates_.defined() ? gates_.select(0, place) : Tensor(), norm_eps_);
}

bool is_memory_name(const std::string& name) { return name.starts_with("memory.") || name.starts_with("mixing."); }

Tensor add_memory(const Tensor& state, const Tensor& rows, const Tensor& scale, const Tensor& gate, double norm_eps) {
  if (!gate.defined()) return state + rows * scale;
  const Tensor agreement = (ops::rms_norm(state, gate, norm_eps) * ops::rms_norm(rows, at::ones_like(gate), norm_eps)).sum(-1, /*keepdim=*/true);
  return state + rows * (agreement.div(std::sqrt(static_cast<double>(gate.size(0)))).sigmoid() * scale);
}

}  // namespace entrain::model
