// The other tests see the best instruction set of this machine; this one sees every set it has.

#include "entrain/ops/hashed_rows.h"
#include "entrain/ops/ops.h"
#include "gradients.h"
#include "targets.h"

namespace entrain::ops {
namespace {

using namespace testing;

class EveryTarget : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { use_only(GetParam()); }
  void TearDown() override { use_only(0); }
};

/// What the machine has and the kernels were compiled for.
std::vector<int64_t> targets_of_this_machine() {
  std::vector<int64_t> targets;
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    use_only(target);
    if (cpu_kernel_target() == hwy::TargetName(target)) targets.push_back(target);
    use_only(0);
  }
  return targets;
}

TEST_P(EveryTarget, MatchesDouble) {
  const Tensor ids = integers(11, {3, 34}), targets = integers(37, {66, 3});
  // The tolerances of each operator's own test.
  expect_float_matches_double([&](const auto& in) { return bag_embedding(in[0], ids, 2); }, {normal({11, 37})}, 3e-6);
  expect_float_matches_double([](const auto& in) { return rms_norm(in[0], in[1], 1e-5); }, {normal({129, 37}), normal({37}, 1, 2)}, 2e-6);
  const auto [cos, sin] = rope_tables(40, 38, 1e4);
  const Function turn = [c = cos, s = sin](const auto& in) { return rope(in[0], c.to(in[0].scalar_type()), s.to(in[0].scalar_type()), 3); };
  expect_float_matches_double(turn, {normal({2, 17, 3, 38})}, 3e-7);
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh, Activation::kRelu2}) {
    expect_float_matches_double([=](const auto& in) { return gated_mlp(in[0], in[1], in[2], activation); },
                                {normal({43, 31}), normal({90, 31}, 0.18, 2), normal({31, 45}, 0.15, 3)}, 3e-6);
  }
  for (const int64_t width : {7, 32, 100}) {
    const std::vector<Tensor> in = {normal({2, 70, 4, width}, 2), normal({2, 75, 2, width}, 1, 2), normal({2, 75, 2, width}, 1, 3)};
    const Tensor segments = at::arange(75).div(9, "floor").repeat({2, 1}).to(at::kInt);
    expect_float_matches_double([](const auto& x) { return causal_attention(x[0], x[1], x[2]); }, in, 5e-6);
    expect_float_matches_double([&](const auto& x) { return causal_attention(x[0], x[1], x[2], segments); }, in, 5e-6);
  }
  expect_float_matches_double([&](const auto& in) { return head_cross_entropy(in[0], in[1], targets); },
                              {normal({66, 31}), normal({37, 31}, 1, 2)}, 5e-6, 1.0 / 66);
  const Tensor table = normal({13, 77}), keys = ngram_keys(ids, 2, 0);
  EXPECT_LT((hashed_rows(table, keys, 2, Signs::kPerKey) - hashed_rows(table.to(at::kDouble), keys, 2, Signs::kPerKey)).abs().max().item<double>(), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(CpuKernels, EveryTarget, ::testing::ValuesIn(targets_of_this_machine()),
                         [](const auto& target) { return std::string(hwy::TargetName(target.param)); });

}  // namespace
}  // namespace entrain::ops
