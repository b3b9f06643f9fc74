#pragma once
// The vector kernels behind the CPU forms: float32, raw pointers, one thread each over the rows [begin, end) it is given.
// Each picks the best instruction set of the machine at its first call.

#include <cstdint>

namespace entrain::ops::cpu {

/// Rows laid out with two strides, as the heads of a packed projection are: row i starts at
/// data + (i / inner) * outer_stride + (i % inner) * inner_stride.
struct Rows {
  const float* data;
  int64_t inner;
  int64_t outer_stride;
  int64_t inner_stride;
  const float* row(int64_t i) const { return data + (i / inner) * outer_stride + (i % inner) * inner_stride; }
};

/// y: contiguous rows of `width`; rstd: one a row.
void rms_norm_forward(const Rows& x, const float* weight, float eps, int64_t width, int64_t begin, int64_t end, float* y, float* rstd);

/// dx: contiguous rows; weight_grad: (width), added to.
void rms_norm_backward(const Rows& grad, const Rows& x, const float* weight, const float* rstd, int64_t width, int64_t begin,
                       int64_t end, float* dx, float* weight_grad);

/// Turns `heads` rows of 2 * half floats by one position's angles; x rows lie head_stride apart, y rows are contiguous.
void rope_position(const float* x, int64_t head_stride, int64_t heads, const float* cos, const float* sin, int64_t half, float* y);

enum class Gate { kSilu, kGeluTanh, kRelu2 };

/// pre: rows of 2 * width, gates first; out: rows of width.
void gate_forward(Gate gate, const float* pre, int64_t width, int64_t begin, int64_t end, float* out);

/// pre_grad: as pre; active: act(gate) * up. `active` may be the same memory as `grad`.
void gate_backward(Gate gate, const float* grad, const float* pre, int64_t width, int64_t begin, int64_t end, float* pre_grad,
                   float* active);

/// out[i] += scale * x[i]
void add_scaled(float scale, const float* x, int64_t n, float* out);

/// out[i] += scale * sign_i * x[i], signs being those of a key (hash.h).
void add_signed(float scale, const float* x, int64_t key, int64_t width, float* out);

/// One row of row-wise Adagrad: sum += mean(g^2), row -= lr / (sqrt(sum) + eps) * g.
void row_adagrad(const float* g, int64_t width, float lr, float eps, float* row, float* sum);

/// out[i] = scale * out[i]
void scale_in_place(float scale, int64_t n, float* out);

/// A row's largest value and the sum of e^(x - max) over it: log-sum-exp = max + log(sum). NaN if the row holds one or +inf.
struct RowSum {
  float max;
  float sum;
};
RowSum row_sum(const float* x, int64_t n);

/// The same, and overwrites the row with softmax * scale.
RowSum row_softmax(float* x, int64_t n, float scale);

/// One key-value head of one row of a batch, with the query heads that share it. Element (t, h) of q is at
/// q + t * q_stride + h * q_head_stride, and likewise for the others; the last dimension is contiguous.
struct AttentionTask {
  int64_t n_queries, n_keys, n_heads, width;
  const float *q, *k, *v;
  int64_t q_stride, q_head_stride, k_stride, v_stride;
  const int32_t* segments;   ///< (n_keys), or null
  const int32_t* first_key;  ///< (n_keys), the lowest key of the same segment, or null
  float *out, *lse;          ///< out: element (t, h) at t * out_stride + h * width; lse: (n_heads, n_queries)
  int64_t out_stride;
};

/// What the backward pass adds: the gradient of out (laid out as out) and where the gradients go.
struct AttentionGradTask {
  const float* grad;
  float *dq, *dk, *dv;  ///< dq laid out as out; rows of dk and dv lie kv_grad_stride apart
  int64_t kv_grad_stride;
};

void attention_forward(const AttentionTask& task);
void attention_backward(const AttentionTask& task, const AttentionGradTask& grads);

/// One group of pairs, s_ij = scale * query_i . key_j; rows of `width` are contiguous. Left out: j = i + offset, and equal labels.
struct PairTask {
  const float *queries, *keys;
  int64_t n_keys, width;
  float scale;
  bool has_offset;
  int64_t offset;
  const int64_t *query_labels, *key_labels;  ///< or null
};

/// lse and, unless null, mean: one a query. Of the queries [begin, end), as in all that follows.
void pair_softmax_forward(const PairTask& task, int64_t begin, int64_t end, float* lse, float* mean);

/// dL/ds_ij = e^(s_ij - lse_i) (level_i + slope_i s_ij) for softmaxes over j; lse is +inf where there are no pairs.
struct PairSlopes {
  const float* lse = nullptr;    ///< null where there are no such softmaxes
  const float* level = nullptr;
  const float* slope = nullptr;  ///< null where all are 0
};

/// grad: rows of the queries, the gradient through the softmaxes of the queries and of the keys (those over i), at least one of them;
/// with both, slopes are given for both or none.
void pair_softmax_backward(const PairTask& task, const PairSlopes& by_query, const PairSlopes& by_key, int64_t begin, int64_t end, float* grad);

/// Random features of one group of vectors (pairs.h), without their factor m^-1/2, and what is to be made of them; null is not made.
struct FeatureTask {
  const float *z, *frequencies;  ///< rows of `width`, contiguous
  int64_t width, n_frequencies;
  float inverse_temperature;  ///< of the positive map
  bool is_trigonometric;
  const float* weights = nullptr;    ///< one a vector, null meaning 1
  const float* direction = nullptr;  ///< c, F numbers; for dots and z_grad
  float* sum = nullptr;              ///< F: sum_i weight_i phi_i over [begin, end)
  float* dots = nullptr;             ///< phi_i.c, one a vector
  float* z_grad = nullptr;           ///< the gradient of sum_i weight_i phi_i.c, rows of `width`
};
void feature_rows(const FeatureTask& task, int64_t begin, int64_t end);

}  // namespace entrain::ops::cpu
