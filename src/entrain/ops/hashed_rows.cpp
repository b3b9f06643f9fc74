// Rows chosen by hashed n-grams: definition, autograd and registration.

#include "entrain/ops/hashed_rows.h"

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <unistd.h>

#include <new>

#include "entrain/ops/dispatch.h"

namespace entrain::ops {
namespace reference {
namespace {

constexpr int64_t kStep = static_cast<int64_t>(0x9e3779b97f4a7c15);

/// x >> n on the 64 bits as they stand.
Tensor shifted(const Tensor& x, int64_t n) { return x.bitwise_right_shift(n).bitwise_and(static_cast<int64_t>(~uint64_t{0} >> n)); }

/// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014; variant 13 of Stafford); products wrap.
Tensor mix(Tensor x) {
  x = x.bitwise_xor(shifted(x, 30)).mul(static_cast<int64_t>(0xbf58476d1ce4e5b9));
  x = x.bitwise_xor(shifted(x, 27)).mul(static_cast<int64_t>(0x94d049bb133111eb));
  return x.bitwise_xor(shifted(x, 31));
}

/// keys: (K) -> (K, width) of +1 and -1.
Tensor sign_pattern(const Tensor& keys, int64_t width, at::ScalarType dtype) {
  const Tensor words = at::arange(1, (width + 63) / 64 + 1, keys.options()) * kStep;
  const Tensor bits = mix(keys.unsqueeze(1) + words).unsqueeze(2).bitwise_right_shift(at::arange(64, keys.options())).bitwise_and(1);
  return (1 - 2 * bits.flatten(1).narrow(1, 0, width)).to(dtype);
}

}  // namespace

Tensor ngram_keys(const Tensor& ids, int64_t order, int64_t head, const std::optional<Tensor>& segments) {
  const int64_t n = ids.size(1);
  Tensor keys = at::zeros_like(ids, at::MemoryFormat::Contiguous);
  const int64_t n_keys = n - order + 1;
  if (n_keys <= 0) return keys;
  Tensor hash = mix(at::full({ids.size(0), n_keys}, head * 256 + order, ids.options()));
  Tensor inside = at::ones({ids.size(0), n_keys}, ids.options().dtype(at::kBool));
  for (int64_t i = 0; i < order; ++i) {
    hash = mix(hash.bitwise_xor(ids.narrow(1, i, n_keys)) + kStep);
    if (segments) inside = inside.logical_and(segments->narrow(1, i, n_keys) == segments->narrow(1, order - 1, n_keys));
  }
  keys.narrow(1, order - 1, n_keys).copy_(shifted(hash, 1).clamp_min(1) * inside);
  return keys;
}

Tensor hashed_rows_forward(const Tensor& table, const Tensor& keys, int64_t bag, bool signs) {
  const Tensor flat = keys.reshape({-1});
  Tensor rows = widen(at::embedding(table, flat.remainder(table.size(0))));
  if (signs) rows = rows * sign_pattern(flat, table.size(1), rows.scalar_type());
  rows = rows.masked_fill((flat == 0).unsqueeze(1), 0);
  return (rows.view({keys.size(0), keys.size(1) / bag, bag, table.size(1)}).sum(2) / static_cast<double>(bag)).to(table.scalar_type());
}

std::tuple<Tensor, Tensor> hashed_rows_backward(const Tensor& grad, const Tensor& keys, int64_t n_rows, int64_t bag, bool signs) {
  const Tensor flat = keys.reshape({-1}), used = flat.nonzero().squeeze(1), chosen = flat.index_select(0, used);
  Tensor values = grad.reshape({-1, grad.size(2)}).index_select(0, used.div(bag, "floor")) / static_cast<double>(bag);
  if (signs) values = values * sign_pattern(chosen, grad.size(2), values.scalar_type());
  const auto [indices, place] = at::_unique(chosen.remainder(n_rows), /*sorted=*/true, /*return_inverse=*/true);
  return {indices, at::zeros({indices.size(0), grad.size(2)}, grad.options()).index_add(0, place, values)};
}

void row_adagrad_(const Tensor& table, const Tensor& sums, const Tensor& indices, const Tensor& gradients, double lr, double eps) {
  sums.index_add_(0, indices, gradients.square().mean(1));
  const Tensor rates = -lr / (sums.index_select(0, indices).sqrt() + eps);
  table.index_add_(0, indices, gradients * rates.unsqueeze(1));
}

}  // namespace reference

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor forward_op(const Tensor& table, const Tensor& keys, int64_t bag, bool signs) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, int64_t, bool)>("entrain::hashed_rows_forward");
  return op.call(table, keys, bag, signs);
}

std::tuple<Tensor, Tensor> backward_op(const Tensor& grad, const Tensor& keys, int64_t n_rows, int64_t bag, bool signs) {
  static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, int64_t, int64_t, bool)>("entrain::hashed_rows_backward");
  return op.call(grad, keys, n_rows, bag, signs);
}

struct HashedRows : torch::autograd::Function<HashedRows> {
  static Tensor forward(AutogradContext* ctx, const Tensor& table, const Tensor& keys, int64_t bag, bool signs) {
    ctx->save_for_backward({keys});
    ctx->saved_data["n_rows"] = table.size(0);
    ctx->saved_data["bag"] = bag;
    ctx->saved_data["signs"] = signs;
    return forward_op(table, keys, bag, signs);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const int64_t n_rows = ctx->saved_data["n_rows"].toInt();
    const auto [indices, values] = backward_op(grads[0], ctx->get_saved_variables()[0], n_rows, ctx->saved_data["bag"].toInt(), ctx->saved_data["signs"].toBool());
    return {at::_sparse_coo_tensor_unsafe(indices.unsqueeze(0), values, {n_rows, values.size(1)}, values.options().layout(at::kSparse), /*is_coalesced=*/true), {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& table, const Tensor& keys, int64_t bag, bool signs) {
  TORCH_CHECK(table.dim() == 2 && table.size(0) > 0, "hashed_rows: table must be (R, W) with rows, is ", table.sizes());
  TORCH_CHECK(keys.dim() == 2 && keys.scalar_type() == at::kLong, "hashed_rows: keys must be (B, T*s) int64, is ", keys.sizes(), " ", keys.scalar_type());
  TORCH_CHECK(bag >= 1 && keys.size(1) % bag == 0, "hashed_rows: ", keys.size(1), " keys do not divide into bags of ", bag);
  return wants_grad(table) ? HashedRows::apply(table, keys, bag, signs) : forward_op(table, keys, bag, signs);
}

Tensor checked_keys(const Tensor& ids, int64_t order, int64_t head, const std::optional<Tensor>& segments) {
  TORCH_CHECK(ids.dim() == 2 && ids.scalar_type() == at::kLong, "ngram_keys: ids must be (B, N) int64, is ", ids.sizes(), " ", ids.scalar_type());
  TORCH_CHECK(order >= 1 && order <= 64 && head >= 0 && head < (int64_t{1} << 48), "ngram_keys: order ", order, ", head ", head);
  TORCH_CHECK(!segments || (segments->sizes() == ids.sizes() && segments->scalar_type() == at::kInt), "ngram_keys: segments must be int32 and one an id");
  static const auto op = find_op<Tensor(const Tensor&, int64_t, int64_t, const std::optional<Tensor>&)>("entrain::ngram_keys_forward");
  return op.call(ids, order, head, segments);
}

void checked_adagrad_(const Tensor& table, const Tensor& sums, const Tensor& indices, const Tensor& gradients, double lr, double eps) {
  TORCH_CHECK(table.dim() == 2 && table.is_contiguous() && sums.is_contiguous() && sums.dim() == 1 && sums.size(0) == table.size(0), "row_adagrad_: table ",
              table.sizes(), ", sums ", sums.sizes(), " must be (R, W) and (R), contiguous");
  TORCH_CHECK(indices.dim() == 1 && indices.scalar_type() == at::kLong && gradients.dim() == 2 && gradients.size(0) == indices.size(0) && gradients.size(1) == table.size(1),
              "row_adagrad_: indices ", indices.sizes(), ", gradients ", gradients.sizes(), " must be (U) int64 and (U, W)");
  static const auto op = find_op<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double)>("entrain::row_adagrad_step_");
  op.call(table, sums, indices, gradients, lr, eps);
}

}  // namespace

Tensor ngram_keys(const Tensor& ids, int64_t order, int64_t head, const Tensor& segments) {
  static const auto op = find_op<Tensor(const Tensor&, int64_t, int64_t, const std::optional<Tensor>&)>("entrain::ngram_keys");
  return op.call(ids, order, head, some_if_defined(segments));
}

Tensor hashed_rows(const Tensor& table, const Tensor& keys, int64_t bag, Signs signs) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, int64_t, bool)>("entrain::hashed_rows");
  return op.call(table, keys, bag, signs == Signs::kPerKey);
}

void row_adagrad_(const Tensor& table, const Tensor& sums, const Tensor& indices, const Tensor& gradients, double lr, double eps) {
  static const auto op = find_op<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double)>("entrain::row_adagrad_");
  const c10::NoGradGuard no_grad;
  op.call(table, sums, indices, gradients, lr, eps);
}

Tensor lazy_zeros(at::IntArrayRef sizes) {
  size_t n_bytes = sizeof(float);
  for (const int64_t size : sizes) n_bytes *= static_cast<size_t>(size);
  if (n_bytes == 0) return at::zeros(sizes, at::kFloat);
  void* memory = ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // Rows lie anywhere: on pages of 4 KiB nearly each is a page fault once and a miss of the address cache ever after. Huge pages make a table resident sooner, so
  // only where it is sure to fit.
  const auto physical = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (n_bytes <= physical / 4) ::madvise(memory, n_bytes, MADV_HUGEPAGE);
  return at::from_blob(memory, sizes, [n_bytes](void* p) { ::munmap(p, n_bytes); }, at::kFloat);
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("ngram_keys(Tensor ids, int order, int head, Tensor? segments=None) -> Tensor", checked_keys);
  m.def("ngram_keys_forward(Tensor ids, int order, int head, Tensor? segments) -> Tensor");
  m.def("hashed_rows(Tensor table, Tensor keys, int bag, bool signs) -> Tensor", with_autograd);
  m.def("hashed_rows_forward(Tensor table, Tensor keys, int bag, bool signs) -> Tensor");
  m.def("hashed_rows_backward(Tensor grad, Tensor keys, int n_rows, int bag, bool signs) -> (Tensor indices, Tensor values)");
  m.def("row_adagrad_(Tensor(a!) table, Tensor(b!) sums, Tensor indices, Tensor gradients, float lr, float eps) -> ()", checked_adagrad_);
  m.def("row_adagrad_step_(Tensor(a!) table, Tensor(b!) sums, Tensor indices, Tensor gradients, float lr, float eps) -> ()");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("ngram_keys_forward", reference::ngram_keys);
  m.impl("hashed_rows_forward", reference::hashed_rows_forward);
  m.impl("hashed_rows_backward", reference::hashed_rows_backward);
  m.impl("row_adagrad_step_", reference::row_adagrad_);
}

}  // namespace entrain::ops
