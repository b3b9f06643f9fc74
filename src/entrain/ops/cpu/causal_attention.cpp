// CPU form of causal_attention: one task for each row of the batch and key-value head.

#include <torch/library.h>

#include <unordered_map>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/reference.h"

namespace entrain::ops::cpu {
namespace {

/// The inputs of all tasks, with what the kernel wants prepared.
struct Inputs {
  Inputs(const Tensor& queries, const Tensor& keys, const Tensor& values, const std::optional<Tensor>& segment_ids)
      : q(with_dense_rows(queries)), k(with_dense_rows(keys)), v(with_dense_rows(values)) {
    if (!segment_ids) return;
    segments = segment_ids->contiguous();
    first_key = at::empty_like(segments);
    for (int64_t b = 0; b < k.size(0); ++b) {
      const int32_t* ids = segments.const_data_ptr<int32_t>() + b * k.size(1);
      int32_t* first = first_key.mutable_data_ptr<int32_t>() + b * k.size(1);
      std::unordered_map<int32_t, int32_t> seen;
      for (int32_t t = 0; t < k.size(1); ++t) first[t] = seen.try_emplace(ids[t], t).first->second;
    }
  }
  int64_t n_tasks() const { return k.size(0) * k.size(2); }
  int64_t group() const { return q.size(2) / k.size(2); }
  /// Tasks that are worth a thread.
  int64_t grain() const { return std::max<int64_t>(1, (1 << 18) / std::max<int64_t>(1, q.size(1) * k.size(1) * group() * q.size(3))); }
  /// Task i, reading from or writing to out and lse.
  AttentionTask task(int64_t i, float* out, float* lse) const {
    const int64_t b = i / k.size(2), kv_head = i % k.size(2), first_head = kv_head * group();
    AttentionTask t{};
    t.n_queries = q.size(1), t.n_keys = k.size(1), t.n_heads = group(), t.width = q.size(3);
    t.q = q.const_data_ptr<float>() + b * q.stride(0) + first_head * q.stride(2);
    t.k = k.const_data_ptr<float>() + b * k.stride(0) + kv_head * k.stride(2);
    t.v = v.const_data_ptr<float>() + b * v.stride(0) + kv_head * v.stride(2);
    t.q_stride = q.stride(1), t.q_head_stride = q.stride(2), t.k_stride = k.stride(1), t.v_stride = v.stride(1);
    t.segments = segments.defined() ? segments.const_data_ptr<int32_t>() + b * k.size(1) : nullptr;
    t.first_key = segments.defined() ? first_key.const_data_ptr<int32_t>() + b * k.size(1) : nullptr;
    t.out = out + out_offset(i);
    t.lse = lse + (b * q.size(2) + first_head) * q.size(1);
    t.out_stride = q.size(2) * q.size(3);
    return t;
  }
  /// Where task i's part of a contiguous tensor shaped as q, or as k, begins.
  int64_t out_offset(int64_t i) const {
    return (i / k.size(2)) * q.size(1) * q.size(2) * q.size(3) + (i % k.size(2)) * group() * q.size(3);
  }
  int64_t kv_offset(int64_t i) const { return (i / k.size(2)) * k.size(1) * k.size(2) * k.size(3) + (i % k.size(2)) * k.size(3); }

  Tensor q, k, v, segments, first_key;
};

std::tuple<Tensor, Tensor> forward(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& segments) {
  if (!all_float(q, k, v)) return reference::causal_attention_forward(q, k, v, segments);
  const Inputs inputs(q, k, v, segments);
  Tensor out = at::empty(q.sizes(), q.options());
  Tensor lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options());
  float *y = out.mutable_data_ptr<float>(), *sums = lse.mutable_data_ptr<float>();
  at::parallel_for(0, inputs.n_tasks(), inputs.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) attention_forward(inputs.task(i, y, sums));
  });
  return {out, lse};
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                                            const Tensor& lse, const std::optional<Tensor>& segments) {
  if (!all_float(grad, q, k, v, out, lse)) return reference::causal_attention_backward(grad, q, k, v, out, lse, segments);
  const Inputs inputs(q, k, v, segments);
  const Tensor dense_grad = grad.contiguous(), dense_out = out.contiguous(), dense_lse = lse.contiguous();
  Tensor dq = at::empty(q.sizes(), q.options()), dk = at::empty(k.sizes(), k.options()), dv = at::empty(v.sizes(), v.options());
  float *y = const_cast<float*>(dense_out.const_data_ptr<float>()), *sums = const_cast<float*>(dense_lse.const_data_ptr<float>());
  const float* g = dense_grad.const_data_ptr<float>();
  float *q_out = dq.mutable_data_ptr<float>(), *k_out = dk.mutable_data_ptr<float>(), *v_out = dv.mutable_data_ptr<float>();
  at::parallel_for(0, inputs.n_tasks(), inputs.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = inputs.out_offset(i), kv = inputs.kv_offset(i);
      attention_backward(inputs.task(i, y, sums), {g + at, q_out + at, k_out + kv, v_out + kv, k.size(2) * k.size(3)});
    }
  });
  return {dq, dk, dv};
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("causal_attention_forward", forward);
  m.impl("causal_attention_backward", backward);
}

}  // namespace entrain::ops::cpu
