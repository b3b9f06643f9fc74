#include "entrain/entanglement/gate.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace entrain::entanglement {
namespace {

Tensor normal(at::IntArrayRef sizes, uint64_t seed) {
  return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(seed), at::TensorOptions().dtype(at::kFloat));
}

struct Pair {
  Tensor g = normal({3, 50, 16}, 1), u = normal({3, 50, 16}, 2) * 0.3 - g * 0.05;  // some tokens agree, more do not
};

TEST(Gate, TokenProjectionNeverOpposesAnyToken) {
  const Pair p;
  const Gated gated = apply_gate(Gate::kToken, p.g, p.u, 0);
  const Tensor added = gated.gradient - p.g, dots = (added * p.g).sum(-1);
  const Tensor bound = -1e-6 * p.g.norm(2, {-1}) * p.u.norm(2, {-1});
  EXPECT_TRUE((dots >= bound).all().item<bool>()) << dots.min().item<double>();
  const Tensor agreed = (p.g * p.u).sum(-1, true) >= 0;
  EXPECT_NEAR(gated.rate, 1 - agreed.to(at::kDouble).mean().item<double>(), 1e-12);
  EXPECT_GT(gated.rate, 0.3);
  EXPECT_LT(gated.rate, 1.0);
  // Where nothing conflicts, nothing is removed.
  EXPECT_LT(((added - p.u) * agreed).abs().max().item<double>(), 1e-6);
}

TEST(Gate, TheCapKeepsThePromise) {
  const Pair p;
  for (const double size : {1.0, 100.0}) {
    const Tensor u = p.u * size, by_token = apply_gate(Gate::kToken, p.g, u, 0.3).gradient - p.g, whole = apply_gate(Gate::kMatrix, p.g, u, 0.3).gradient - p.g;
    const Tensor dots = (by_token * p.g).sum(-1), bound = -1e-6 * p.g.norm(2, {-1}) * u.norm(2, {-1});
    EXPECT_TRUE((dots >= bound).all().item<bool>()) << size << " " << dots.min().item<double>();
    EXPECT_GE((whole * p.g).sum().item<double>(), -1e-6 * p.g.norm().item<double>() * u.norm().item<double>()) << size;
    EXPECT_GT(by_token.norm().item<double>(), 0.0);
  }
}

TEST(Gate, MatrixProjectionIsOrthogonalWhenInConflict) {
  const Pair p;
  ASSERT_LT((p.g * p.u).sum().item<double>(), 0);
  const Gated gated = apply_gate(Gate::kMatrix, p.g, p.u, 0);
  const double dot = ((gated.gradient - p.g) * p.g).sum().item<double>();
  EXPECT_NEAR(dot, 0, 1e-4 * p.g.norm().item<double>() * p.u.norm().item<double>());
  EXPECT_EQ(gated.rate, 1.0);
  EXPECT_EQ(apply_gate(Gate::kMatrix, p.g, -p.u, 0).rate, 0.0);
}

TEST(Gate, CosineUsesOnlyWhatAgrees) {
  const Pair p;
  EXPECT_TRUE(at::equal(apply_gate(Gate::kCosine, p.g, p.u, 0).gradient, p.g));
  const Gated gated = apply_gate(Gate::kCosine, p.g, -p.u, 0);
  const double cosine = -(p.g * p.u).sum().item<double>() / (p.g.norm().item<double>() * p.u.norm().item<double>());
  EXPECT_NEAR(gated.cosine, cosine, 1e-6);
  EXPECT_LT((gated.gradient - p.g + cosine * p.u).abs().max().item<double>(), 1e-5);
}

TEST(Gate, PcgradProjectsBoth) {
  const Tensor g = at::tensor({1.0, 0.0}).view({1, 2}), u = at::tensor({-1.0, 1.0}).view({1, 2});
  // g - (g.u/|u|^2) u = (1, 0) + (-1, 1)/2; u - (u.g/|g|^2) g = (0, 1)
  EXPECT_TRUE(at::allclose(apply_gate(Gate::kPcgrad, g, u, 0).gradient, at::tensor({0.5, 1.5}).view({1, 2})));
}

TEST(Gate, GradnormHitsItsShare) {
  const Pair p;
  for (const double share : {0.1, 0.5}) {
    const Gated gated = apply_gate(Gate::kGradnorm, p.g, p.u, share);
    EXPECT_NEAR(gated.ratio, share, 1e-5);
    EXPECT_NEAR(gated.side_ratio, p.u.norm().item<double>() / p.g.norm().item<double>(), 1e-5);  // as it came
    EXPECT_NEAR((gated.gradient - p.g).norm().item<double>() / p.g.norm().item<double>(), share, 1e-5);
  }
}

TEST(Gate, CapsWhatIsAdded) {
  const Pair p;
  for (const Gate gate : {Gate::kNone, Gate::kToken, Gate::kMatrix}) {
    EXPECT_LE(apply_gate(gate, p.g, p.u * 100, 0.2).ratio, 0.2 + 1e-5);
  }
  const Tensor added = apply_gate(Gate::kToken, p.g, p.u * 100, 0.2).gradient - p.g;
  EXPECT_TRUE((added.norm(2, {-1}) <= 0.2001 * p.g.norm(2, {-1})).all().item<bool>());
  // A cap that does not bind changes nothing.
  EXPECT_TRUE(at::allclose(apply_gate(Gate::kNone, p.g, p.u * 1e-3, 0.5).gradient, p.g + p.u * 1e-3));
}

TEST(Gate, TakesZeroGradients) {
  const Tensor zero = at::zeros({2, 4, 8}), u = normal({2, 4, 8}, 3);
  for (const Gate gate : {Gate::kNone, Gate::kToken, Gate::kMatrix, Gate::kCosine, Gate::kPcgrad, Gate::kGradnorm}) {
    EXPECT_TRUE(at::isfinite(apply_gate(gate, zero, u, 0.3).gradient).all().item<bool>());
    EXPECT_TRUE(at::equal(apply_gate(gate, u, zero, 0.3).gradient, u));
  }
}

TEST(Gate, NamesAreChecked) {
  EXPECT_EQ(gate_from_name("pcgrad"), Gate::kPcgrad);
  EXPECT_THROW(gate_from_name("tokens"), c10::Error);
}

}  // namespace
}  // namespace entrain::entanglement
