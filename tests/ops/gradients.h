#pragma once
// What the operators' tests share: the fast form against the definition, gradients against finite differences, exact repetition.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <vector>

namespace entrain::ops::testing {

using at::Tensor;
using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// Deterministic normal numbers: the seed is the only source of chance in a test.
inline Tensor normal(at::IntArrayRef sizes, double scale = 1, uint64_t seed = 1) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(sizes, generator, at::TensorOptions().dtype(at::kFloat)) * scale;
}

inline Tensor integers(int64_t end, at::IntArrayRef sizes, uint64_t seed = 1) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randint(0, end, sizes, generator, at::TensorOptions().dtype(at::kLong));
}

/// Token ids as given.
inline Tensor ids_of(std::vector<int64_t> ids) { return at::tensor(ids); }

/// The output of f, followed by the gradients of its inputs for a fixed pseudo-random upstream gradient.
inline std::vector<Tensor> run_both_ways(const Function& f, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.detach().clone().requires_grad_());
  const Tensor out = f(leaves);
  const Tensor upstream = out.dim() == 0 ? at::ones_like(out) : normal(out.sizes(), 1, 99).to(out.scalar_type());
  std::vector<Tensor> results = {out.detach()};
  for (const Tensor& grad : torch::autograd::grad({out}, leaves, {upstream})) results.push_back(grad);
  return results;
}

/// f on float32 (fast form) against f on float64 (definition), outputs and gradients. Each is compared at the scale of its largest
/// element, and of `floor` where exact cancellation makes that zero. `tolerance` counts float32 roundings, 6e-8 each.
inline void expect_float_matches_double(const Function& f, const std::vector<Tensor>& inputs, double tolerance, double floor = 1) {
  std::vector<Tensor> wide;
  for (const Tensor& input : inputs) wide.push_back(input.to(at::kDouble));
  const auto fast = run_both_ways(f, inputs);
  const int n_threads = at::get_num_threads();
  at::set_num_threads(1);  // the definition's many small products cost less without threads, much less on a busy machine
  const auto exact = run_both_ways(f, wide);
  at::set_num_threads(n_threads);
  for (size_t i = 0; i < fast.size(); ++i) {
    ASSERT_EQ(fast[i].scalar_type(), at::kFloat);
    ASSERT_EQ(fast[i].sizes(), exact[i].sizes());
    if (fast[i].numel() == 0) continue;
    const double error = (fast[i].to(at::kDouble) - exact[i]).abs().max().item<double>();
    const double scale = std::max(floor, exact[i].abs().max().item<double>());
    EXPECT_LE(error, tolerance * scale) << (i == 0 ? "output" : "gradient of input ") << i;
  }
}

/// Gradients against central differences in float64. Step 1e-6 leaves an error of about 1e-10 from rounding and 1e-12 from curvature,
/// times the size of the numbers; 1e-7 tells right from wrong with room to spare.
inline void expect_gradients_match_differences(const Function& f, const std::vector<Tensor>& inputs) {
  constexpr double kStep = 1e-6, kTolerance = 1e-7;
  std::vector<Tensor> wide;
  for (const Tensor& input : inputs) wide.push_back(input.to(at::kDouble));
  const auto results = run_both_ways(f, wide);
  const Tensor upstream = results[0].dim() == 0 ? at::ones_like(results[0]) : normal(results[0].sizes(), 1, 99).to(at::kDouble);
  const int n_threads = at::get_num_threads();
  at::set_num_threads(1);
  for (size_t i = 0; i < wide.size(); ++i) {
    Tensor flat = wide[i].view({-1});
    const Tensor grad = results[i + 1].reshape({-1});
    for (int64_t j = 0; j < flat.numel(); ++j) {
      const double at = flat[j].item<double>();
      flat[j] = at + kStep;
      const double above = (f(wide) * upstream).sum().item<double>();
      flat[j] = at - kStep;
      const double below = (f(wide) * upstream).sum().item<double>();
      flat[j] = at;
      EXPECT_NEAR(grad[j].item<double>(), (above - below) / (2 * kStep), kTolerance) << "input " << i << " element " << j;
    }
  }
  at::set_num_threads(n_threads);
}

/// Two runs give the same bits, and asking for gradients does not change the output.
inline void expect_repeats(const Function& f, const std::vector<Tensor>& inputs) {
  const auto first = run_both_ways(f, inputs), second = run_both_ways(f, inputs);
  for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(at::equal(first[i], second[i])) << "result " << i;
  EXPECT_TRUE(at::equal(first[0], f(inputs))) << "without gradients";
}

}  // namespace entrain::ops::testing
