// CPU form of pair_softmax.

#include <torch/library.h>

#include <limits>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/pairs_reference.h"

namespace entrain::ops::cpu {
namespace {

using OptionalTensor = std::optional<Tensor>;

constexpr int64_t kRowsPerTask = 256;  // packing a block of keys is small beside what so many rows do with it

/// The groups of a call, with what their pointers refer to. Exchanged, keys are the queries.
struct Groups {
  Groups(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const OptionalTensor& q_labels,
         const OptionalTensor& k_labels)
      : queries(q.contiguous()), keys(k.contiguous()), scale(static_cast<float>(1 / temperature)), diagonal(offset) {
    if (q_labels) query_labels = q_labels->contiguous(), key_labels = k_labels->contiguous();
  }
  Groups exchanged() const {
    Groups other = *this;
    std::swap(other.queries, other.keys);
    std::swap(other.query_labels, other.key_labels);
    if (diagonal) other.diagonal = -*diagonal;
    return other;
  }
  PairTask task(int64_t g) const {
    const auto labels = [g](const Tensor& x) { return x.defined() ? x.const_data_ptr<int64_t>() + g * x.size(1) : nullptr; };
    const int64_t width = queries.size(2);
    return {queries.const_data_ptr<float>() + g * queries.size(1) * width, keys.const_data_ptr<float>() + g * keys.size(1) * width,
            keys.size(1), width, scale, diagonal.has_value(), diagonal.value_or(0), labels(query_labels), labels(key_labels)};
  }
  /// Calls body(group, begin, end) for ranges of queries, in parallel.
  template <class Body>
  void for_each_range(const Body& body) const {
    const int64_t n = queries.size(1), per_group = (n + kRowsPerTask - 1) / kRowsPerTask;
    at::parallel_for(0, queries.size(0) * per_group, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t part = i % per_group;
        body(i / per_group, part * n / per_group, (part + 1) * n / per_group);
      }
    });
  }

  Tensor queries, keys, query_labels = {}, key_labels = {};
  float scale;
  std::optional<int64_t> diagonal;
};

std::tuple<Tensor, Tensor> forward(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset,
                                   const OptionalTensor& q_labels, const OptionalTensor& k_labels, bool with_mean) {
  if (!all_float(q, k)) return reference::pair_softmax_forward(q, k, temperature, offset, q_labels, k_labels, with_mean);
  const Groups groups(q, k, temperature, offset, q_labels, k_labels);
  const int64_t n = q.size(1);
  Tensor lse = at::empty({q.size(0), n}, q.options()), mean = with_mean ? at::empty_like(lse) : Tensor();
  float *to_lse = lse.mutable_data_ptr<float>(), *to_mean = with_mean ? mean.mutable_data_ptr<float>() : nullptr;
  groups.for_each_range([&](int64_t g, int64_t begin, int64_t end) {
    pair_softmax_forward(groups.task(g), begin, end, to_lse + g * n, with_mean ? to_mean + g * n : nullptr);
  });
  return {lse, mean};
}

/// The statistics of every query's softmax as the kernel wants them: a + b (1 + s - mean) = level + slope s.
struct Slopes {
  Slopes(const Tensor& lse_grad, const OptionalTensor& mean_grad, const Tensor& lse_, const OptionalTensor& mean) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    lse = lse_.masked_fill(lse_ == -kInfinity, kInfinity).contiguous();
    level = (mean_grad ? lse_grad + *mean_grad * (1 - *mean) : lse_grad).contiguous();
    if (mean_grad) slope = mean_grad->contiguous();
  }
  PairSlopes group(int64_t g) const {
    const auto row = [g](const Tensor& x) { return x.defined() ? x.const_data_ptr<float>() + g * x.size(1) : nullptr; };
    return {row(lse), row(level), row(slope)};
  }
  Tensor lse, level, slope;
};

Tensor gradient(const Groups& groups, const Slopes* by_query, const Slopes* by_key) {
  Tensor grad = at::empty(groups.queries.sizes(), groups.queries.options());
  float* out = grad.mutable_data_ptr<float>();
  const int64_t group_size = grad.size(1) * grad.size(2);
  groups.for_each_range([&](int64_t g, int64_t begin, int64_t end) {
    pair_softmax_backward(groups.task(g), by_query != nullptr ? by_query->group(g) : PairSlopes(),
                          by_key != nullptr ? by_key->group(g) : PairSlopes(), begin, end, out + g * group_size);
  });
  return grad;
}

std::tuple<Tensor, Tensor> backward(const Tensor& lse_grad, const OptionalTensor& mean_grad, const Tensor& q, const Tensor& k,
                                    double temperature, std::optional<int64_t> offset, const OptionalTensor& q_labels,
                                    const OptionalTensor& k_labels, const Tensor& lse, const OptionalTensor& mean,
                                    std::array<bool, 2> grad_mask) {
  if (!all_float(q, k, lse_grad, lse)) {
    return reference::pair_softmax_backward(lse_grad, mean_grad, q, k, temperature, offset, q_labels, k_labels, lse, mean, grad_mask);
  }
  const Groups groups(q, k, temperature, offset, q_labels, k_labels);
  const Slopes slopes(lse_grad, mean_grad, lse, mean);
  const bool is_symmetric = q.is_same(k) && offset.value_or(0) == 0 && (!q_labels || q_labels->is_same(*k_labels));
  if (is_symmetric && grad_mask[0] && grad_mask[1]) {  // the scores serve both roles, and the sum goes to the one tensor there is
    return {gradient(groups, &slopes, &slopes), Tensor()};
  }
  return {grad_mask[0] ? gradient(groups, &slopes, nullptr) : Tensor(), grad_mask[1] ? gradient(groups.exchanged(), nullptr, &slopes) : Tensor()};
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("pair_softmax_forward", forward);
  m.impl("pair_softmax_backward", backward);
}

}  // namespace entrain::ops::cpu
