// CPU form of bag_embedding.

#include <torch/library.h>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/reference.h"

namespace entrain::ops::cpu {
namespace {

void check_ids(const int64_t* ids, int64_t n, int64_t vocabulary) {
  for (int64_t i = 0; i < n; ++i) {
    TORCH_CHECK_INDEX(ids[i] >= 0 && ids[i] < vocabulary, "bag_embedding: id ", ids[i], " is not in [0, ", vocabulary, ")");
  }
}

Tensor forward(const Tensor& table, const Tensor& ids, int64_t bag) {
  if (bag == 1 || !all_float(table)) return reference::bag_embedding_forward(table, ids, bag);
  const Tensor rows = table.contiguous(), flat = ids.contiguous();
  const int64_t width = table.size(1);
  Tensor out = at::empty({ids.size(0), ids.size(1) / bag, width}, table.options());
  const int64_t* id = flat.const_data_ptr<int64_t>();
  const float* in = rows.const_data_ptr<float>();
  float* y = out.mutable_data_ptr<float>();
  check_ids(id, flat.numel(), table.size(0));
  at::parallel_for(0, flat.numel() / bag, row_grain(width * bag), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(in + id[i * bag] * width, width, y + i * width);
      for (int64_t s = 1; s < bag; ++s) add_scaled(1, in + id[i * bag + s] * width, width, y + i * width);
      scale_in_place(1.0f / static_cast<float>(bag), width, y + i * width);
    }
  });
  return out;
}

// Every thread goes through all ids in order but owns a range of columns: no two touch the same element, and each element's
// sum has the same order whatever the number of threads.
Tensor backward(const Tensor& grad, const Tensor& ids, int64_t vocabulary, int64_t bag) {
  if (!all_float(grad)) return reference::bag_embedding_backward(grad, ids, vocabulary, bag);
  const Tensor dense = grad.contiguous(), flat = ids.contiguous();
  const int64_t width = grad.size(2), n_ids = flat.numel();
  Tensor table_grad = at::zeros({vocabulary, width}, grad.options());
  const int64_t* id = flat.const_data_ptr<int64_t>();
  const float* g = dense.const_data_ptr<float>();
  float* out = table_grad.mutable_data_ptr<float>();
  const float share = 1.0f / static_cast<float>(bag);
  constexpr int64_t kColumns = 16;  // a cache line: neighbours do not write to the same one
  check_ids(id, n_ids, vocabulary);
  at::parallel_for(0, (width + kColumns - 1) / kColumns, 2, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kColumns, n = std::min(width, end * kColumns) - first;
    for (int64_t i = 0; i < n_ids; ++i) add_scaled(share, g + i / bag * width + first, n, out + id[i] * width + first);
  });
  return table_grad;
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("bag_embedding_forward", forward);
  m.impl("bag_embedding_backward", backward);
}

}  // namespace entrain::ops::cpu
