#include "entrain/entanglement/ranks.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace entrain::entanglement {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Communicator& saved_ranks(AutogradContext* ctx) { return *reinterpret_cast<Communicator*>(ctx->saved_data["ranks"].toInt()); }

struct Sum : torch::autograd::Function<Sum> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, int64_t ranks) {
    ctx->saved_data["ranks"] = ranks;
    return saved_ranks(ctx).all_reduce_sum(x.contiguous());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) { return {saved_ranks(ctx).all_reduce_sum(grads[0].contiguous()), {}}; }
};

struct Gather : torch::autograd::Function<Gather> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, int64_t ranks) {
    ctx->saved_data["ranks"] = ranks;
    return saved_ranks(ctx).all_gather(x.contiguous());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Communicator& ranks = saved_ranks(ctx);
    const int64_t n = grads[0].size(0) / ranks.size();
    return {ranks.all_reduce_sum(grads[0].contiguous()).narrow(0, ranks.rank() * n, n), {}};
  }
};

}  // namespace

int64_t rank_of(const Communicator* ranks) { return ranks == nullptr ? 0 : ranks->rank(); }
int64_t number_of(const Communicator* ranks) { return ranks == nullptr ? 1 : ranks->size(); }

Tensor sum_over_ranks(const Tensor& x, Communicator* ranks) { return number_of(ranks) == 1 ? x : Sum::apply(x, reinterpret_cast<int64_t>(ranks)); }

Tensor gather_over_ranks(const Tensor& x, Communicator* ranks) { return number_of(ranks) == 1 ? x : Gather::apply(x, reinterpret_cast<int64_t>(ranks)); }

}  // namespace entrain::entanglement
