// CPU forms of ngram_keys, hashed_rows and row_adagrad_.

#include "entrain/ops/hashed_rows.h"

#include <torch/library.h>

#include <vector>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/cpu/hash.h"

namespace entrain::ops::cpu {
namespace {

constexpr int64_t kAhead = 8;  // rows lie anywhere in memory: they are asked for before they are needed

void prefetch_row(const float* row, int64_t width) {
  for (int64_t c = 0; c < width; c += 16) __builtin_prefetch(row + c);
}

Tensor keys_of(const Tensor& ids, int64_t order, int64_t head, const std::optional<Tensor>& segments) {
  const Tensor dense = ids.contiguous(), dense_segments = segments ? segments->contiguous() : Tensor();
  const int64_t n = ids.size(1);
  Tensor keys = at::zeros(ids.sizes(), ids.options());
  const int64_t* id = dense.const_data_ptr<int64_t>();
  const int32_t* segment = segments ? dense_segments.const_data_ptr<int32_t>() : nullptr;
  int64_t* out = keys.mutable_data_ptr<int64_t>();
  at::parallel_for(0, ids.size(0), row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t last = row * n + order - 1; last < (row + 1) * n; ++last) {
        uint64_t hash = hash_seed(order, head);
        bool inside = true;
        for (int64_t i = last - order + 1; i <= last; ++i) {
          hash = hash_next(hash, id[i]);
          inside &= segment == nullptr || segment[i] == segment[last];
        }
        if (inside) out[last] = hash_to_key(hash);
      }
    }
  });
  return keys;
}

void add_row(bool signs, float scale, const float* x, int64_t key, int64_t width, float* out) {
  if (signs) {
    add_signed(scale, x, key, width, out);
  } else {
    add_scaled(scale, x, width, out);
  }
}

Tensor forward(const Tensor& table, const Tensor& keys, int64_t bag, bool signs) {
  if (!all_float(table)) return reference::hashed_rows_forward(table, keys, bag, signs);
  const Tensor rows = table.contiguous(), dense_keys = keys.contiguous();
  const int64_t width = table.size(1), n_rows = table.size(0), n_keys = keys.numel();
  Tensor out = at::zeros({keys.size(0), keys.size(1) / bag, width}, table.options());
  const float* in = rows.const_data_ptr<float>();
  const int64_t* key = dense_keys.const_data_ptr<int64_t>();
  float* y = out.mutable_data_ptr<float>();
  const float share = 1.0f / static_cast<float>(bag);
  at::parallel_for(0, n_keys / bag, row_grain(width * bag), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * bag; i < end * bag; ++i) {
      if (i + kAhead < n_keys) prefetch_row(in + key[i + kAhead] % n_rows * width, width);
      if (key[i] != 0) add_row(signs, share, in + key[i] % n_rows * width, key[i], width, y + i / bag * width);
    }
  });
  return out;
}

/// A token's use of a row.
struct Use {
  int64_t row, token;
  bool operator<(const Use& other) const { return row != other.row ? row < other.row : token < other.token; }
};

// A thread owns whole rows, and each row's sum follows the order of the tokens: the same bits whatever the number of threads.
std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Tensor& keys, int64_t n_rows, int64_t bag, bool signs) {
  if (!all_float(grad)) return reference::hashed_rows_backward(grad, keys, n_rows, bag, signs);
  const Tensor dense = grad.contiguous(), dense_keys = keys.contiguous();
  const int64_t width = grad.size(2);
  const int64_t* key = dense_keys.const_data_ptr<int64_t>();
  std::vector<Use> uses;
  uses.reserve(static_cast<size_t>(keys.numel()));
  for (int64_t token = 0; token < keys.numel(); ++token) {
    if (key[token] != 0) uses.push_back({key[token] % n_rows, token});
  }
  std::sort(uses.begin(), uses.end());
  std::vector<size_t> first;  // of each row's uses
  for (size_t i = 0; i < uses.size(); ++i) {
    if (i == 0 || uses[i].row != uses[i - 1].row) first.push_back(i);
  }
  const auto n_used = static_cast<int64_t>(first.size());
  first.push_back(uses.size());
  Tensor indices = at::empty({n_used}, keys.options()), values = at::zeros({n_used, width}, grad.options());
  int64_t* index = indices.mutable_data_ptr<int64_t>();
  const float* g = dense.const_data_ptr<float>();
  float* out = values.mutable_data_ptr<float>();
  const float share = 1.0f / static_cast<float>(bag);
  at::parallel_for(0, n_used, row_grain(width), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      index[u] = uses[first[static_cast<size_t>(u)]].row;
      for (size_t i = first[static_cast<size_t>(u)]; i < first[static_cast<size_t>(u) + 1]; ++i) {
        add_row(signs, share, g + uses[i].token / bag * width, key[uses[i].token], width, out + u * width);
      }
    }
  });
  return {indices, values};
}

void adagrad_(const Tensor& table, const Tensor& sums, const Tensor& indices, const Tensor& gradients, double lr, double eps) {
  if (!all_float(table, sums, gradients)) return reference::row_adagrad_(table, sums, indices, gradients, lr, eps);
  const Tensor dense = gradients.contiguous(), dense_indices = indices.contiguous();
  const int64_t width = table.size(1), n_used = indices.size(0), n_rows = table.size(0);
  const float* g = dense.const_data_ptr<float>();
  const int64_t* index = dense_indices.const_data_ptr<int64_t>();
  float *rows = table.mutable_data_ptr<float>(), *sum = sums.mutable_data_ptr<float>();
  for (int64_t u = 0; u < n_used; ++u) TORCH_CHECK_INDEX(index[u] >= 0 && index[u] < n_rows, "row_adagrad_: row ", index[u], " is not in [0, ", n_rows, ")");
  at::parallel_for(0, n_used, row_grain(width), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      if (u + kAhead < end) prefetch_row(rows + index[u + kAhead] * width, width);
      row_adagrad(g + u * width, width, static_cast<float>(lr), static_cast<float>(eps), rows + index[u] * width, sum + index[u]);
    }
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("ngram_keys_forward", keys_of);
  m.impl("hashed_rows_forward", forward);
  m.impl("hashed_rows_backward", backward);
  m.impl("row_adagrad_step_", adagrad_);
}

}  // namespace entrain::ops::cpu
