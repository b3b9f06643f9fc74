#include "entrain/ops/ops.h"
#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

Function loss_of(Tensor targets, Tensor weights = {}, double normaliser = 0) {
  return [=](const auto& in) { return head_cross_entropy(in[0], in[1], targets, weights, normaliser); };
}

Tensor with_ignored(Tensor targets) {
  targets.view({-1, targets.size(-1)})[0].fill_(kIgnore);  // a position without any target
  if (targets.size(-1) > 1) targets.view({-1, targets.size(-1)})[1][0] = kIgnore;
  return targets;
}

TEST(HeadCrossEntropy, FloatMatchesDoubleOverOddShapes) {
  for (const int64_t width : {1, 7, 31, 64, 100}) {
    for (const int64_t vocabulary : {1, 33, 300}) {
      for (int64_t s = 1; s <= 6; ++s) {
        const Tensor targets = with_ignored(integers(vocabulary, {2, 43, s}));
        const Tensor weights = at::arange(1, s + 1, at::kFloat).reciprocal();
        // Gradients are of size 1 / 85 positions: compared at that scale, with sums over 86 rows or 300 words.
        for (const Tensor& w : {Tensor(), weights}) {
          expect_float_matches_double(loss_of(targets, w), {normal({2, 43, width}), normal({vocabulary, width}, 1, 2)}, 5e-6, 1.0 / 85);
        }
      }
    }
  }
}

TEST(HeadCrossEntropy, SeveralChunksMatchOne) {
  const int64_t vocabulary = 20000;  // 128 rows a chunk
  const Tensor targets = with_ignored(integers(vocabulary, {300, 2}));
  expect_float_matches_double(loss_of(targets), {normal({300, 8}, 0.3), normal({vocabulary, 8}, 1, 2)}, 5e-6, 1.0 / 299);
}

TEST(HeadCrossEntropy, GradientsMatchDifferences) {
  // Ignored targets, a position without any, one with the same target three times.
  const Tensor targets = ids_of({0, 1, 2, kIgnore, kIgnore, kIgnore, 3, 3, 3, kIgnore, 4, 0}).view({2, 2, 3});
  const Tensor weights = at::tensor({0.5, 0.3, 0.2}, at::kDouble);
  for (const Tensor& w : {Tensor(), weights}) {
    for (const double normaliser : {0.0, 7.0}) {
      expect_gradients_match_differences(loss_of(targets, w, normaliser), {normal({2, 2, 4}), normal({5, 4}, 1, 2)});
    }
  }
}

TEST(HeadCrossEntropy, OneTargetIsPlainCrossEntropy) {
  const Tensor targets = with_ignored(integers(50, {4, 17, 1}));
  const Function plain = [&](const auto& in) {
    return at::cross_entropy_loss(at::matmul(in[0], in[1].t()).view({-1, 50}), targets.view({-1}));
  };
  const std::vector<Tensor> in = {normal({4, 17, 32}), normal({50, 32}, 1, 2)};
  const auto ours = run_both_ways(loss_of(targets), in), expected = run_both_ways(plain, in);
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(at::allclose(ours[i], expected[i], 1e-5, 1e-7)) << i;
  // A weight of one changes nothing, bit for bit.
  const auto weighted = run_both_ways(loss_of(targets, at::ones({1})), in);
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(at::equal(ours[i], weighted[i])) << i;
}

// arXiv 2605.06546, equation 3: the loss of a bag is the mean of its targets' cross-entropies.
TEST(HeadCrossEntropy, BagLossIsTheMeanOfItsTargetsLosses) {
  const Tensor hidden = normal({3, 20, 16}), head = normal({40, 16}, 1, 2), targets = integers(40, {3, 20, 5});
  double mean = 0;
  for (int64_t i = 0; i < 5; ++i) mean += head_cross_entropy(hidden, head, targets.slice(2, i, i + 1)).item<double>() / 5;
  EXPECT_NEAR(head_cross_entropy(hidden, head, targets).item<double>(), mean, 5e-7 * mean);  // each loss is rounded to float32
  const Tensor repeated = targets.slice(2, 0, 1).repeat({1, 1, 5});
  EXPECT_NEAR(head_cross_entropy(hidden, head, repeated).item<double>(), head_cross_entropy(hidden, head, targets.slice(2, 0, 1)).item<double>(), 1e-6);
}

TEST(HeadCrossEntropy, WeightsAreRenormalisedOverValidTargets) {
  const Tensor hidden = normal({1, 6}), head = normal({9, 6}, 1, 2);
  const Tensor weights = at::tensor({0.5f, 0.3f, 0.2f});
  const Tensor targets = ids_of({4, kIgnore, 7}).view({1, 3});
  const double first = head_nats(hidden, head, ids_of({4})).item<double>();
  const double third = head_nats(hidden, head, ids_of({7})).item<double>();
  EXPECT_NEAR(head_cross_entropy(hidden, head, targets, weights).item<double>(), (0.5 * first + 0.2 * third) / 0.7, 2e-6);
}

TEST(HeadCrossEntropy, MicroBatchesAddUpToTheWholeBatch) {
  const Tensor targets = with_ignored(integers(30, {6, 11, 2})), head = normal({30, 16}, 1, 2), hidden = normal({6, 11, 16});
  const auto count = static_cast<double>(count_positions(targets));
  EXPECT_EQ(count, 65);
  const auto whole = run_both_ways(loss_of(targets), {hidden, head});
  Tensor loss = at::zeros({}), head_grad = at::zeros_like(head);
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 4}, {4, 6}}) {
    const auto part = run_both_ways(loss_of(targets.slice(0, begin, end), {}, count), {hidden.slice(0, begin, end), head});
    loss = loss + part[0];
    head_grad = head_grad + part[2];
    EXPECT_TRUE(at::allclose(part[1], whole[1].slice(0, begin, end), 1e-5, 1e-8));
  }
  EXPECT_NEAR(loss.item<double>(), whole[0].item<double>(), 2e-6);
  EXPECT_TRUE(at::allclose(head_grad, whole[2], 1e-5, 1e-7));
}

TEST(HeadCrossEntropy, ScalesWithTheUpstreamGradient) {
  const Tensor targets = integers(30, {11, 2});
  const std::vector<Tensor> in = {normal({11, 16}), normal({30, 16}, 1, 2)};
  const auto once = run_both_ways(loss_of(targets), in);
  const auto twice = run_both_ways([&](const auto& x) { return loss_of(targets)(x) * 2; }, in);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(twice[i], once[i] * 2));  // a power of two rounds nothing
}

TEST(HeadCrossEntropy, NothingToPredictIsZero) {
  const Tensor targets = at::full({2, 3, 2}, kIgnore, at::kLong);
  for (const Tensor& result : run_both_ways(loss_of(targets), {normal({2, 3, 8}), normal({5, 8})})) {
    EXPECT_TRUE(at::equal(result, at::zeros_like(result)));
  }
  const auto empty = run_both_ways(loss_of(at::empty({0, 1}, at::kLong)), {normal({0, 8}), normal({5, 8})});
  EXPECT_EQ(empty[0].item<double>(), 0);
  EXPECT_TRUE(at::equal(empty[2], at::zeros({5, 8})));
}

TEST(HeadCrossEntropy, ExtremeLogits) {
  // Logits of +-1e4: the right answer costs nothing, the wrong one 2e4 nats.
  const Tensor hidden = at::full({2, 1}, 1e4), head = at::tensor({1.0f, -1.0f}).view({2, 1});
  const Tensor targets = ids_of({0, 1}).view({2, 1});
  const auto results = run_both_ways(loss_of(targets), {hidden, head});
  EXPECT_EQ(results[0].item<double>(), 1e4);
  for (const Tensor& result : results) EXPECT_TRUE(result.isfinite().all().item<bool>());
  EXPECT_TRUE(at::equal(head_nats(hidden, head, targets), at::tensor({0.0f, 2e4f})));
}

TEST(HeadCrossEntropy, NonFinitePropagates) {
  for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    Tensor hidden = normal({40, 8});
    hidden[33][2] = bad;
    const auto results = run_both_ways(loss_of(integers(50, {40, 2})), {hidden, normal({50, 8}, 1, 2)});
    EXPECT_TRUE(results[0].isnan().item<bool>());
    EXPECT_TRUE(results[1][33].isnan().any().item<bool>());
    EXPECT_TRUE(results[1][0].isfinite().all().item<bool>());
  }
}

TEST(HeadCrossEntropy, RepeatsAndIsTheSameWithoutGradients) {
  expect_repeats(loss_of(integers(1000, {200, 4})), {normal({200, 64}), normal({1000, 64}, 1, 2)});
}

TEST(HeadCrossEntropy, FrozenHeadGetsNoGradient) {
  const Tensor hidden = normal({4, 8}).requires_grad_(), head = normal({5, 8});
  head_cross_entropy(hidden, head, integers(5, {4, 1})).backward();
  EXPECT_TRUE(hidden.grad().defined());
  EXPECT_FALSE(head.grad().defined());
}

TEST(HeadCrossEntropy, RejectsWrongArguments) {
  const Tensor hidden = normal({4, 8}), head = normal({5, 8});
  EXPECT_THROW(head_cross_entropy(hidden, head, at::full({4, 1}, 5, at::kLong)), c10::Error);
  EXPECT_THROW(head_cross_entropy(hidden, head, at::full({4, 1}, -1, at::kLong)), c10::Error);
  EXPECT_THROW(head_cross_entropy(hidden, head, integers(5, {3, 1})), c10::Error);
  EXPECT_THROW(head_cross_entropy(hidden, head, integers(5, {4, 2}), at::ones({3})), c10::Error);
  EXPECT_THROW(head_cross_entropy(hidden, normal({5, 7}), integers(5, {4, 1})), c10::Error);
}

TEST(HeadNats, MatchesTheLossAndIgnores) {
  const Tensor hidden = normal({3, 50, 16}), head = normal({700, 16}, 1, 2), targets = with_ignored(integers(700, {3, 50, 1}));
  const Tensor nats = head_nats(hidden, head, targets);
  EXPECT_EQ(nats.sizes(), at::IntArrayRef({150}));
  EXPECT_EQ(nats[0].item<double>(), 0);
  EXPECT_NEAR(nats.sum().item<double>() / 149, head_cross_entropy(hidden, head, targets).item<double>(), 1e-5);
  const Tensor wide = head_nats(hidden.to(at::kDouble), head.to(at::kDouble), targets);
  EXPECT_EQ(wide.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(nats, wide, 1e-6, 1e-6));
}

TEST(CpuKernels, NameTheirTarget) { EXPECT_FALSE(cpu_kernel_target().empty()); }

}  // namespace
}  // namespace entrain::ops
