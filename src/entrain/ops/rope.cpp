// Rotary position embedding: definition, tables, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/reference.h"

namespace entrain::ops {
namespace reference {

Tensor rope_rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset) {
  const auto halves = widen(x).chunk(2, -1);
  const Tensor c = cos.narrow(0, offset, x.size(1)).unsqueeze(1);  // (T, 1, D/2)
  const Tensor s = sin.narrow(0, offset, x.size(1)).unsqueeze(1);
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1).to(x.scalar_type());
}

}  // namespace reference

namespace {

using RopeSignature = Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t);

Tensor rotate_op(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset) {
  static const auto op = find_op<RopeSignature>("entrain::rope_rotate");
  return op.call(x, cos, sin, offset);
}

struct Rope : torch::autograd::Function<Rope> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset) {
    ctx->save_for_backward({cos.narrow(0, offset, x.size(1)), sin.narrow(0, offset, x.size(1))});
    return rotate_op(x, cos, sin, offset);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {rotate_op(grads[0], saved[0], saved[1].neg(), 0), {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset) {
  TORCH_CHECK(x.dim() == 4 && x.size(3) % 2 == 0, "rope: x must be (B, T, H, D) with even D, is ", x.sizes());
  TORCH_CHECK(cos.dim() == 2 && cos.size(1) == x.size(3) / 2 && sin.sizes() == cos.sizes(), "rope: tables must be (P, ",
              x.size(3) / 2, "), are ", cos.sizes(), " and ", sin.sizes());
  TORCH_CHECK(offset >= 0 && offset + x.size(1) <= cos.size(0), "rope: positions ", offset, " .. ", offset + x.size(1) - 1,
              " exceed the tables' ", cos.size(0));
  return wants_grad(x) ? Rope::apply(x, cos, sin, offset) : rotate_op(x, cos, sin, offset);
}

std::tuple<Tensor, Tensor> tables(int64_t positions, int64_t head_width, double theta) {
  TORCH_CHECK(positions >= 0 && head_width >= 0 && head_width % 2 == 0 && theta > 0, "rope_tables: positions ", positions,
              ", head width ", head_width, ", theta ", theta);
  Tensor cos = at::empty({positions, head_width / 2}, at::kFloat);
  Tensor sin = at::empty_like(cos);
  float* c = cos.mutable_data_ptr<float>();
  float* s = sin.mutable_data_ptr<float>();
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < head_width / 2; ++i) {
      const double angle = static_cast<double>(p) * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_width));
      *c++ = static_cast<float>(std::cos(angle));
      *s++ = static_cast<float>(std::sin(angle));
    }
  }
  return {cos, sin};
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t offset) {
  static const auto op = find_op<RopeSignature>("entrain::rope");
  return op.call(x, cos, sin, offset);
}

std::pair<Tensor, Tensor> rope_tables(int64_t positions, int64_t head_width, double theta) {
  auto [cos, sin] = tables(positions, head_width, theta);
  return {cos, sin};
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("rope(Tensor x, Tensor cos, Tensor sin, int offset=0) -> Tensor", with_autograd);
  m.def("rope_rotate(Tensor x, Tensor cos, Tensor sin, int offset) -> Tensor");
  m.def("rope_tables(int positions, int head_width, float theta) -> (Tensor cos, Tensor sin)", tables);
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) { m.impl("rope_rotate", reference::rope_rotate); }

}  // namespace entrain::ops
