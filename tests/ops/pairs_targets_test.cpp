// The operators over pairs on every instruction set the machine has; the other tests see the best only.

#include "entrain/ops/ops.h"
#include "entrain/ops/pairs.h"
#include "gradients.h"
#include "targets.h"

namespace entrain::ops {
namespace {

using namespace testing;

void expect_all_match_double() {
  constexpr double kTemperature = 0.5;
  const auto unit = [](Tensor x) { return x / x.norm(2, -1, true); };
  const Tensor labels = integers(9, {2, 75});
  const Function softmax = [&](const auto& in) {
    const auto [lse, mean] = pair_softmax(in[0], in[1], kTemperature, 1, labels.narrow(1, 0, 70), labels);
    return lse + mean;
  };
  const Function itself = [&](const auto& in) { return pair_softmax(in[0], in[0], kTemperature, 0, labels, labels).lse; };
  for (const int64_t width : {7, 64}) {  // tolerances of the operators' own tests
    const Tensor q = unit(normal({2, 70, width})), k = unit(normal({2, 75, width}, 1, 2));
    expect_float_matches_double(softmax, {q, k}, 3e-6);
    expect_float_matches_double(itself, {k}, 3e-6);
    const Tensor w = normal({37, width}, 1.4, 3);
    for (const FeatureMap map : {FeatureMap::kTrigonometric, FeatureMap::kPositive}) {
      const Function rows = [&](const auto& in) {
        const Tensor own = w.to(in[0].scalar_type());
        return feature_dot(in[0], own, feature_sum(in[1], own, kTemperature, map), kTemperature, map);
      };
      expect_float_matches_double(rows, {q, k}, 1e-5);
    }
  }
}

TEST(PairKernels, MatchDoubleOnEveryTarget) {
  int64_t n_targets = 0;
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    use_only(target);
    if (cpu_kernel_target() == hwy::TargetName(target)) {
      const ::testing::ScopedTrace trace(__FILE__, __LINE__, hwy::TargetName(target));
      expect_all_match_double();
      ++n_targets;
    }
    use_only(0);
  }
  EXPECT_GE(n_targets, 1);
}

}  // namespace
}  // namespace entrain::ops
