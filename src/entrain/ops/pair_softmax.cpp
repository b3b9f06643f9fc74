// Softmax statistics over all pairs: definition, autograd and registration.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>

#include "entrain/ops/dispatch.h"
#include "entrain/ops/pairs_reference.h"

namespace entrain::ops {
namespace reference {
namespace {

// The scores of some rows of a group, with 0 where a pair is left out, so that products with a probability of 0 stay 0.
struct Scores {
  Tensor s, left_out;
  Tensor for_softmax() const { return s.masked_fill(left_out, -std::numeric_limits<double>::infinity()); }
};

// Calls body(group, first row, number of rows, scores) for every run of rows; rows are few enough to bound the memory.
template <class Body>
void for_each_block(const Tensor& q, const Tensor& k, double temperature, const LeftOut& out, const Body& body) {
  const int64_t n = q.size(1), m = k.size(1), step = std::max<int64_t>(1, kElementsAtOnce / std::max<int64_t>(1, m));
  for (int64_t g = 0; g < q.size(0); ++g) {
    for (int64_t begin = 0; begin < n; begin += step) {
      const int64_t n_rows = std::min(step, n - begin);
      Tensor left_out = out.q_labels ? out.q_labels->select(0, g).narrow(0, begin, n_rows).unsqueeze(1) == out.k_labels->select(0, g)
                                     : at::zeros({n_rows, m}, q.options().dtype(at::kBool));
      const int64_t diagonal = out.offset ? begin + *out.offset : m;
      if (diagonal > -n_rows && diagonal < m) left_out.diagonal(diagonal).fill_(true);
      const Tensor s = at::mm(widen(q.select(0, g).narrow(0, begin, n_rows)), widen(k.select(0, g)).t()).div_(temperature);
      body(g, begin, n_rows, Scores{s.masked_fill_(left_out, 0), left_out});
    }
  }
}

}  // namespace

std::tuple<Tensor, Tensor> pair_softmax_forward(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset,
                                                const std::optional<Tensor>& q_labels, const std::optional<Tensor>& k_labels, bool with_mean) {
  const auto options = q.options().dtype(widen(q).scalar_type());
  Tensor lse = at::empty({q.size(0), q.size(1)}, options), mean = with_mean ? at::empty_like(lse) : Tensor();
  for_each_block(q, k, temperature, {offset, q_labels, k_labels}, [&](int64_t g, int64_t begin, int64_t n_rows, const Scores& scores) {
    const Tensor masked = scores.for_softmax(), top = masked.amax(1, /*keepdim=*/true);
    const Tensor shift = top.masked_fill(top.isinf(), 0);  // rows without pairs
    const Tensor e = (masked - shift).exp_(), sum = e.sum(1);
    lse.select(0, g).narrow(0, begin, n_rows).copy_(shift.squeeze(1) + sum.log());
    if (!with_mean) return;
    // Of s - max, not s: a sum of probabilities that is off by a rounding would be multiplied by it.
    const Tensor mean_above = (scores.s - shift).mul_(e).sum(1) / sum.masked_fill(sum == 0, 1);
    mean.select(0, g).narrow(0, begin, n_rows).copy_(mean_above + shift.squeeze(1));
  });
  return {lse, mean};
}

std::tuple<Tensor, Tensor> pair_softmax_backward(const Tensor& lse_grad, const std::optional<Tensor>& mean_grad, const Tensor& q,
                                                 const Tensor& k, double temperature, std::optional<int64_t> offset,
                                                 const std::optional<Tensor>& q_labels, const std::optional<Tensor>& k_labels,
                                                 const Tensor& lse, const std::optional<Tensor>& mean, std::array<bool, 2> grad_mask) {
  const auto options = lse.options();
  Tensor dq = grad_mask[0] ? at::zeros(q.sizes(), options) : Tensor(), dk = grad_mask[1] ? at::zeros(k.sizes(), options) : Tensor();
  for_each_block(q, k, temperature, {offset, q_labels, k_labels}, [&](int64_t g, int64_t begin, int64_t n_rows, const Scores& scores) {
    const auto rows = [&](const Tensor& x) { return x.select(0, g).narrow(0, begin, n_rows).unsqueeze(1); };
    Tensor ds = (scores.s - rows(lse)).exp_().masked_fill_(scores.left_out, 0);
    const Tensor slope = mean_grad ? rows(lse_grad) + rows(*mean_grad) * (scores.s + 1 - rows(*mean)) : rows(lse_grad);
    ds = ds.mul_(slope).div_(temperature);
    if (grad_mask[0]) dq.select(0, g).narrow(0, begin, n_rows).copy_(at::mm(ds, widen(k.select(0, g))));
    if (grad_mask[1]) dk.select(0, g).addmm_(ds.t(), widen(q.select(0, g).narrow(0, begin, n_rows)));
  });
  return {grad_mask[0] ? dq.to(q.scalar_type()) : dq, grad_mask[1] ? dk.to(k.scalar_type()) : dk};
}

}  // namespace reference

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;

std::tuple<Tensor, Tensor> forward_op(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset,
                                      const OptionalTensor& q_labels, const OptionalTensor& k_labels, bool with_mean) {
  static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, double, std::optional<int64_t>,
                                                            const OptionalTensor&, const OptionalTensor&, bool)>("entrain::pair_softmax_forward");
  return op.call(q, k, temperature, offset, q_labels, k_labels, with_mean);
}

// The outputs are lse and, if with_mean, mean.
struct PairSoftmaxFunction : torch::autograd::Function<PairSoftmaxFunction> {
  static variable_list forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset,
                               const OptionalTensor& q_labels, const OptionalTensor& k_labels, bool with_mean) {
    auto [lse, mean] = forward_op(q, k, temperature, offset, q_labels, k_labels, with_mean);
    ctx->save_for_backward({q, k, lse, mean, q_labels.value_or(Tensor()), k_labels.value_or(Tensor())});
    ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["offset"] = offset;
    ctx->set_materialize_grads(false);
    return with_mean ? variable_list{lse, mean} : variable_list{lse};
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &lse = saved[2], &mean = saved[3];
    const Tensor lse_grad = grads[0].defined() ? grads[0] : at::zeros_like(lse);
    const bool uses_mean = grads.size() > 1 && grads[1].defined();
    static const auto op =
        find_op<std::tuple<Tensor, Tensor>(const Tensor&, const OptionalTensor&, const Tensor&, const Tensor&, double,
                                           std::optional<int64_t>, const OptionalTensor&, const OptionalTensor&, const Tensor&,
                                           const OptionalTensor&, std::array<bool, 2>)>("entrain::pair_softmax_backward");
    auto [dq, dk] = op.call(lse_grad, uses_mean ? OptionalTensor(grads[1]) : std::nullopt, q, k, ctx->saved_data["temperature"].toDouble(),
                            ctx->saved_data["offset"].toOptional<int64_t>(), some_if_defined(saved[4]), some_if_defined(saved[5]), lse,
                            uses_mean ? OptionalTensor(mean) : std::nullopt, {ctx->needs_input_grad(0), ctx->needs_input_grad(1)});
    return {dq, dk, {}, {}, {}, {}, {}};
  }
};

void check(const Tensor& q, const Tensor& k, double temperature, const OptionalTensor& q_labels, const OptionalTensor& k_labels) {
  TORCH_CHECK(q.dim() == 3 && k.dim() == 3 && q.size(0) == k.size(0) && q.size(2) == k.size(2) && q.scalar_type() == k.scalar_type() &&
                  q.is_floating_point(), "pair_softmax: q must be (G, n, d) and k (G, m, d) of one floating dtype, are ", q.sizes(), " ",
              q.scalar_type(), " and ", k.sizes(), " ", k.scalar_type());
  TORCH_CHECK(k.size(1) > 0, "pair_softmax: there are no keys");
  TORCH_CHECK(temperature > 0, "pair_softmax: temperature must be positive, is ", temperature);
  TORCH_CHECK(q_labels.has_value() == k_labels.has_value(), "pair_softmax: labels of queries and keys come together");
  const auto fits = [](const OptionalTensor& labels, const Tensor& x) {
    return !labels || (labels->scalar_type() == at::kLong && labels->sizes() == x.sizes().slice(0, 2));
  };
  TORCH_CHECK(fits(q_labels, q) && fits(k_labels, k), "pair_softmax: labels must be int64, one for each vector");
}

variable_list outputs(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const OptionalTensor& q_labels,
                      const OptionalTensor& k_labels, bool with_mean) {
  check(q, k, temperature, q_labels, k_labels);
  if (wants_grad(q, k)) return PairSoftmaxFunction::apply(q, k, temperature, offset, q_labels, k_labels, with_mean);
  auto [lse, mean] = forward_op(q, k, temperature, offset, q_labels, k_labels, with_mean);
  return {lse, mean};
}

std::tuple<Tensor, Tensor> both(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset,
                                const OptionalTensor& q_labels, const OptionalTensor& k_labels) {
  const variable_list out = outputs(q, k, temperature, offset, q_labels, k_labels, /*with_mean=*/true);
  return {out[0], out[1]};
}

Tensor only_lse(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const OptionalTensor& q_labels,
                const OptionalTensor& k_labels) {
  return outputs(q, k, temperature, offset, q_labels, k_labels, /*with_mean=*/false)[0];
}

}  // namespace

PairSoftmax pair_softmax(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const Tensor& q_labels,
                         const Tensor& k_labels) {
  static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, double, std::optional<int64_t>,
                                                            const OptionalTensor&, const OptionalTensor&)>("entrain::pair_softmax");
  auto [lse, mean] = op.call(q, k, temperature, offset, some_if_defined(q_labels), some_if_defined(k_labels));
  return {lse, mean};
}

Tensor pair_logsumexp(const Tensor& q, const Tensor& k, double temperature, std::optional<int64_t> offset, const Tensor& q_labels,
                      const Tensor& k_labels) {
  static const auto op = find_op<Tensor(const Tensor&, const Tensor&, double, std::optional<int64_t>, const OptionalTensor&,
                                        const OptionalTensor&)>("entrain::pair_logsumexp");
  return op.call(q, k, temperature, offset, some_if_defined(q_labels), some_if_defined(k_labels));
}

TORCH_LIBRARY_FRAGMENT(entrain, m) {
  m.def("pair_softmax(Tensor q, Tensor k, float temperature, int? offset=None, Tensor? q_labels=None, Tensor? k_labels=None)"
        " -> (Tensor lse, Tensor mean)", both);
  m.def("pair_logsumexp(Tensor q, Tensor k, float temperature, int? offset=None, Tensor? q_labels=None, Tensor? k_labels=None) -> Tensor",
        only_lse);
  m.def("pair_softmax_forward(Tensor q, Tensor k, float temperature, int? offset, Tensor? q_labels, Tensor? k_labels, bool with_mean)"
        " -> (Tensor lse, Tensor mean)");
  m.def("pair_softmax_backward(Tensor lse_grad, Tensor? mean_grad, Tensor q, Tensor k, float temperature, int? offset, Tensor? q_labels,"
        " Tensor? k_labels, Tensor lse, Tensor? mean, bool[2] grad_mask) -> (Tensor q_grad, Tensor k_grad)");
}
TORCH_LIBRARY_IMPL(entrain, CompositeExplicitAutograd, m) {
  m.impl("pair_softmax_forward", reference::pair_softmax_forward);
  m.impl("pair_softmax_backward", reference::pair_softmax_backward);
}

}  // namespace entrain::ops
