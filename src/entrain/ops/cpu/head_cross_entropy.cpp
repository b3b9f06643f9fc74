// CPU form of head_cross_entropy and head_nats: logits live for one chunk of rows at a time, and the loss's gradients are
// formed from them on the spot, so that neither logits nor probabilities are ever stored or read again.

#include <torch/library.h>

#include <cmath>
#include <vector>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/matmul.h"
#include "entrain/ops/reference.h"

namespace entrain::ops::cpu {
namespace {

constexpr int64_t kLogitsPerChunk = 1 << 21;  // 8 MB, which the last-level cache holds
constexpr int64_t kMinRows = 128;             // fewer would starve the matrix products

int64_t rows_per_chunk(int64_t vocabulary) { return std::max(kMinRows, kLogitsPerChunk / vocabulary); }

/// The targets of all positions, checked, with their shares of a position's loss.
class Targets {
 public:
  Targets(const Tensor& targets, const std::optional<Tensor>& weights, int64_t vocabulary)
      : ids_(targets.contiguous()), n_targets_(targets.size(1)), weights_(static_cast<size_t>(n_targets_), 1.0) {
    if (weights) {
      const Tensor wide = weights->to(at::kDouble).contiguous();
      std::copy_n(wide.const_data_ptr<double>(), n_targets_, weights_.begin());
    }
    for (int64_t n = 0; n < targets.size(0); ++n) {
      bool any = false;
      for (int64_t s = 0; s < n_targets_; ++s) {
        const int64_t id = row(n)[s];
        TORCH_CHECK_INDEX(id == kIgnore || (id >= 0 && id < vocabulary), "head_cross_entropy: target ", id, " is not in [0, ",
                          vocabulary, ")");
        any = any || id != kIgnore;
      }
      n_positions_ += any;
    }
  }
  int64_t n_positions() const { return n_positions_; }
  /// Sum of the weights of position n's valid targets.
  double mass(int64_t n) const {
    double sum = 0;
    for (int64_t s = 0; s < n_targets_; ++s) sum += row(n)[s] == kIgnore ? 0 : weights_[static_cast<size_t>(s)];
    return sum;
  }
  /// Calls visit(id, share) for each valid target of position n with a share; the shares add up to 1.
  template <class Visit>
  void for_each(int64_t n, double mass, const Visit& visit) const {
    for (int64_t s = 0; s < n_targets_; ++s) {
      const double weight = weights_[static_cast<size_t>(s)];
      if (row(n)[s] != kIgnore && weight != 0) visit(row(n)[s], weight / mass);
    }
  }

 private:
  const int64_t* row(int64_t n) const { return ids_.const_data_ptr<int64_t>() + n * n_targets_; }

  Tensor ids_;
  int64_t n_targets_;
  std::vector<double> weights_;
  int64_t n_positions_ = 0;
};

// Loss of position n in nats; with `scale` not 0, its logits become the gradient, scale * (softmax - shares).
double position_loss(const Targets& targets, int64_t n, float scale, float* logits, int64_t vocabulary) {
  const double mass = targets.mass(n);
  if (mass <= 0) {
    if (scale != 0) std::fill_n(logits, vocabulary, 0.0f);
    return 0;
  }
  double picked = 0;
  targets.for_each(n, mass, [&](int64_t id, double share) { picked += share * static_cast<double>(logits[id]); });
  const RowSum sum = scale != 0 ? row_softmax(logits, vocabulary, scale) : row_sum(logits, vocabulary);
  if (scale != 0) {
    targets.for_each(n, mass, [&](int64_t id, double share) { logits[id] -= static_cast<float>(share * static_cast<double>(scale)); });
  }
  return static_cast<double>(sum.max) - picked + std::log(static_cast<double>(sum.sum));
}

std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& hidden, const Tensor& head, const Tensor& target_ids,
                                           const std::optional<Tensor>& weights, double normaliser, std::array<bool, 2> grad_mask) {
  if (!all_float(hidden, head)) {
    return reference::head_cross_entropy_forward(hidden, head, target_ids, weights, normaliser, grad_mask);
  }
  const int64_t n_rows = hidden.size(0), vocabulary = head.size(0), step = std::min(n_rows, rows_per_chunk(vocabulary));
  const Targets targets(target_ids, weights, vocabulary);
  const double count = normaliser > 0 ? normaliser : static_cast<double>(std::max<int64_t>(1, targets.n_positions()));
  const float scale = grad_mask[0] || grad_mask[1] ? static_cast<float>(1.0 / count) : 0.0f;
  Tensor hidden_grad = grad_mask[0] ? at::empty(hidden.sizes(), hidden.options()) : Tensor();
  Tensor head_grad = !grad_mask[1] ? Tensor() : n_rows == 0 ? at::zeros_like(head) : at::empty(head.sizes(), head.options());
  Tensor logits;
  std::vector<double> losses(static_cast<size_t>(n_rows));
  for (int64_t first = 0; first < n_rows; first += step) {
    const int64_t n = std::min(step, n_rows - first);
    const Tensor rows = hidden.narrow(0, first, n);
    logits = Tensor();  // gives its memory back first, to be taken again at once
    logits = matmul_nt(rows, head);
    float* data = logits.mutable_data_ptr<float>();
    at::parallel_for(0, n, row_grain(vocabulary), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        losses[static_cast<size_t>(first + i)] = position_loss(targets, first + i, scale, data + i * vocabulary, vocabulary);
      }
    });
    if (grad_mask[0]) hidden_grad.narrow(0, first, n).copy_(matmul_nn(logits, head));
    if (grad_mask[1] && first == 0) at::mm_out(head_grad, logits.t(), rows);
    if (grad_mask[1] && first > 0) at::addmm_out(head_grad, head_grad, logits.t(), rows);
  }
  double total = 0;
  for (const double loss : losses) total += loss;
  return {at::scalar_tensor(total / count, hidden.options()), hidden_grad, head_grad};
}

Tensor nats(const Tensor& hidden, const Tensor& head, const Tensor& target_ids) {
  if (!all_float(hidden, head)) return reference::head_nats(hidden, head, target_ids);
  const int64_t n_rows = hidden.size(0), vocabulary = head.size(0), step = std::min(n_rows, rows_per_chunk(vocabulary));
  const Targets targets(target_ids.unsqueeze(1), std::nullopt, vocabulary);
  Tensor logits;
  Tensor result = at::empty({n_rows}, hidden.options());
  float* out = result.mutable_data_ptr<float>();
  for (int64_t first = 0; first < n_rows; first += step) {
    const int64_t n = std::min(step, n_rows - first);
    logits = Tensor();  // gives its memory back first, to be taken again at once
    logits = matmul_nt(hidden.narrow(0, first, n), head);
    float* data = logits.mutable_data_ptr<float>();
    at::parallel_for(0, n, row_grain(vocabulary), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        out[first + i] = static_cast<float>(position_loss(targets, first + i, 0, data + i * vocabulary, vocabulary));
      }
    });
  }
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("head_cross_entropy_forward", forward);
  m.impl("head_nats_forward", nats);
}

}  // namespace entrain::ops::cpu
