// Mean of token embeddings over bags: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/reference.h"

namespace entrain::ops {
namespace reference {

Tensor bag_embedding_forward(const Tensor& table, const Tensor& ids, int64_t bag) {
  Tensor rows = at::embedding(table, ids);  // (B, T*S, C)
  if (bag == 1) return rows;
  return widen(rows).unflatten(1, {ids.size(1) / bag, bag}).mean(2).to(table.scalar_type());
}

Tensor bag_embedding_backward(const Tensor& grad, const Tensor& ids, int64_t vocabulary, int64_t bag) {
  Tensor spread = bag == 1 ? grad : grad.div(static_cast<double>(bag)).repeat_interleave(bag, 1);
  return at::embedding_dense_backward(spread, ids, vocabulary, /*padding_idx=*/-1, /*scale_grad_by_freq=*/false);
}

}  // namespace reference

namespace {

Tensor forward_op(const Tensor& table, const Tensor& ids, int64_t bag) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, int64_t)>("entrain::bag_embedding_forward");
  return op.call(table, ids, bag);
}

Tensor backward_op(const Tensor& grad, const Tensor& ids, int64_t vocabulary, int64_t bag) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, int64_t, int64_t)>("entrain::bag_embedding_backward");
  return op.call(grad, ids, vocabulary, bag);
}

struct BagEmbedding : torch::autograd::Function<BagEmbedding> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& table, const Tensor& ids, int64_t bag) {
    ctx->save_for_backward({ids});
    ctx->saved_data["vocabulary"] = table.size(0);
    ctx->saved_data["bag"] = bag;
    return forward_op(table, ids, bag);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const Tensor ids = ctx->get_saved_variables()[0];
    return {backward_op(grads[0], ids, ctx->saved_data["vocabulary"].toInt(), ctx->saved_data["bag"].toInt()), {}, {}};
  }
};

Tensor with_autograd(const Tensor& table, const Tensor& ids, int64_t bag) {
  TORCH_CHECK(table.dim() == 2, "bag_embedding: table must be (V, C), is ", table.sizes());
  TORCH_CHECK(ids.dim() == 2 && ids.scalar_type() == at::kLong, "bag_embedding: ids must be (B, T*S) int64, is ", ids.sizes(), " ",
              ids.scalar_type());
  TORCH_CHECK(bag >= 1 && ids.size(1) % bag == 0, "bag_embedding: ", ids.size(1), " ids do not divide into bags of ", bag);
  return wants_grad(table) ? BagEmbedding::apply(table, ids, bag) : forward_op(table, ids, bag);
}

}  // namespace

Tensor bag_embedding(const Tensor& table, const Tensor& ids, int64_t bag) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, int64_t)>("entrain::bag_embedding");
  return op.call(table, ids, bag);
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("bag_embedding(Tensor table, Tensor ids, int bag) -> Tensor", with_autograd);
  m.def("bag_embedding_forward(Tensor table, Tensor ids, int bag) -> Tensor");
  m.def("bag_embedding_backward(Tensor grad, Tensor ids, int vocabulary, int bag) -> Tensor");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("bag_embedding_forward", reference::bag_embedding_forward);
  m.impl("bag_embedding_backward", reference::bag_embedding_backward);
}

}  // namespace entrain::ops
