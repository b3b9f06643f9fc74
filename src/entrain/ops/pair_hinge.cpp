// Hinge over all pairs: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/pairs_reference.h"

namespace entrain::ops {
namespace reference {
namespace {

// Calls body(group, first row, excess): max(0, z_i.z_j - threshold) of some rows i and every j, 0 on the diagonal.
template <class Body>
void for_each_block(const Tensor& z, double threshold, const Body& body) {
  const int64_t n = z.size(1), step = std::max<int64_t>(1, kElementsAtOnce / std::max<int64_t>(1, n));
  for (int64_t g = 0; g < z.size(0); ++g) {
    const Tensor group = widen(z.select(0, g));
    for (int64_t begin = 0; begin < n; begin += step) {
      const Tensor excess = at::mm(group.narrow(0, begin, std::min(step, n - begin)), group.t()).sub_(threshold).clamp_min_(0);
      excess.diagonal(begin).zero_();
      body(g, begin, excess);
    }
  }
}

double n_pairs(const Tensor& z) { return static_cast<double>(std::max<int64_t>(1, z.size(1) * (z.size(1) - 1))); }

}  // namespace

Tensor pair_hinge_forward(const Tensor& z, double threshold) {
  Tensor total = at::zeros({z.size(0)}, z.options().dtype(widen(z).scalar_type()));
  for_each_block(z, threshold, [&](int64_t g, int64_t, const Tensor& excess) { total.select(0, g).add_(excess.sum()); });
  return total.div_(n_pairs(z));
}

Tensor pair_hinge_backward(const Tensor& grad, const Tensor& z, double threshold) {
  Tensor dz = at::empty(z.sizes(), grad.options());
  for_each_block(z, threshold, [&](int64_t g, int64_t begin, const Tensor& excess) {
    const Tensor active = (excess > 0).to(grad.scalar_type());  // symmetric: a vector is met as i and as j
    dz.select(0, g).narrow(0, begin, excess.size(0)).copy_(at::mm(active, widen(z.select(0, g))));
  });
  return dz.mul_((grad * (2 / n_pairs(z))).view({-1, 1, 1})).to(z.scalar_type());
}

}  // namespace reference

namespace {

Tensor forward_op(const Tensor& z, double threshold) {
  static const auto op = find_op<Tensor(const Tensor&, double)>("entrain::pair_hinge_forward");
  return op.call(z, threshold);
}

struct PairHinge : torch::autograd::Function<PairHinge> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& z, double threshold) {
    ctx->save_for_backward({z});
    ctx->saved_data["threshold"] = threshold;
    return forward_op(z, threshold);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    static const auto op = find_op<Tensor(const Tensor&, const Tensor&, double)>("entrain::pair_hinge_backward");
    return {op.call(grads[0], ctx->get_saved_variables()[0], ctx->saved_data["threshold"].toDouble()), {}};
  }
};

Tensor with_autograd(const Tensor& z, double threshold) {
  TORCH_CHECK(z.dim() == 3 && z.is_floating_point(), "pair_hinge: z must be floating (G, n, d), is ", z.sizes(), " ", z.scalar_type());
  return wants_grad(z) ? PairHinge::apply(z, threshold) : forward_op(z, threshold);
}

}  // namespace

Tensor pair_hinge(const Tensor& z, double threshold) {
  static const auto op = find_op<Tensor(const Tensor&, double)>("entrain::pair_hinge");
  return op.call(z, threshold);
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("pair_hinge(Tensor z, float threshold) -> Tensor", with_autograd);
  m.def("pair_hinge_forward(Tensor z, float threshold) -> Tensor");
  m.def("pair_hinge_backward(Tensor grad, Tensor z, float threshold) -> Tensor");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("pair_hinge_forward", reference::pair_hinge_forward);
  m.impl("pair_hinge_backward", reference::pair_hinge_backward);
}

}  // namespace entrain::ops
