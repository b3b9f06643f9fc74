#include "entrain/ops/pairs.h"

#include "gradients.h"
#include "largest_allocation.h"

namespace entrain::ops {
namespace {

using namespace testing;
using Offset = std::optional<int64_t>;

constexpr double kTemperature = 0.5;

Tensor unit(Tensor x) { return x / x.norm(2, -1, true); }

/// Both results side by side, (G, 2n), 0 for rows whose pairs are all left out.
Tensor side_by_side(const PairSoftmax& rows) { return at::cat({rows.lse.masked_fill(rows.lse.isinf(), 0), rows.mean}, 1); }

Function softmax_of(Offset offset, Tensor q_labels = {}, Tensor k_labels = {}, double temperature = kTemperature) {
  return [=](const auto& in) { return side_by_side(pair_softmax(in[0], in[1], temperature, offset, q_labels, k_labels)); };
}

/// The same by the matrix of all scores.
Function dense_softmax_of(Offset offset, Tensor q_labels, Tensor k_labels) {
  return [=](const auto& in) {
    const Tensor s = at::matmul(in[0], in[1].transpose(1, 2)) / kTemperature;
    Tensor left_out = q_labels.defined() ? q_labels.unsqueeze(2) == k_labels.unsqueeze(1) : at::zeros_like(s, at::kBool);
    if (offset) left_out = left_out.logical_or(at::ones({s.size(1), s.size(2)}, at::kBool).triu(*offset).tril(*offset));
    const Tensor log_p = s.masked_fill(left_out, -1e30).log_softmax(-1);
    const Tensor nothing = left_out.all(-1), lse = (s - log_p).masked_fill(left_out, 0).sum(-1) / left_out.logical_not().sum(-1).clamp_min(1);
    return at::cat({lse, (log_p.exp() * s).masked_fill(left_out, 0).sum(-1)}, 1);
  };
}

TEST(PairSoftmax, FloatMatchesDoubleOverOddShapes) {
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{1, 1}, {1, 2}, {2, 1}, {2, 3}, {3, 17}, {17, 17}, {300, 17}, {17, 700}, {300, 301}};
  for (int64_t groups = 1; groups <= 3; ++groups) {
    for (const auto& [n, m] : shapes) {
      for (const int64_t width : {1, 7, 64}) {
        if (groups == 2 && n * m > 400) continue;
        const std::vector<Tensor> in = {unit(normal({groups, n, width})), unit(normal({groups, m, width}, 1, 2))};
        const Tensor q_labels = integers(5, {groups, n}), k_labels = integers(5, {groups, m}, 2);
        for (const Offset offset : {Offset(), Offset(0), Offset(-1), Offset(2)}) {
          // Scores up to 2 and log-sum-exps up to 7 are rounded at 2e-7, sums of up to 700 terms add some roundings more; with one
          // dimension all terms are alike, and so are their roundings, of 6e-8 each.
          const double tolerance = width == 1 ? 2e-5 : 3e-6;
          expect_float_matches_double(softmax_of(offset), in, tolerance);
          expect_float_matches_double(softmax_of(offset, q_labels, k_labels), in, tolerance);
        }
      }
    }
  }
}

TEST(PairSoftmax, FloatMatchesDoubleAgainstItself) {
  for (const int64_t n : {2, 3, 17, 300, 700}) {
    for (int64_t groups = 1; groups <= 3; ++groups) {
      const Tensor labels = integers(9, {groups, n});
      for (const Tensor& same : {Tensor(), labels}) {
        const Function f = [&](const auto& in) { return side_by_side(pair_softmax(in[0], in[0], kTemperature, 0, same, same)); };
        expect_float_matches_double(f, {unit(normal({groups, n, 31}))}, 3e-6);
      }
    }
  }
}

TEST(PairSoftmax, FloatMatchesDoubleAtLowTemperatureAndLongVectors) {
  // Scores of +-200 and +-900: exponentials span far more than float32 does. They are rounded at 6e-8 of themselves, and so are
  // log-sum-exp and mean; the gradients see that error absolutely.
  expect_float_matches_double(softmax_of(0, {}, {}, 5e-3), {unit(normal({2, 70, 8})), unit(normal({2, 90, 8}, 1, 2))}, 2e-4);
  expect_float_matches_double(softmax_of(0), {normal({1, 70, 8}, 5), normal({1, 90, 8}, 5, 2)}, 2e-4);
}

TEST(PairSoftmax, MatchesDenseSoftmax) {
  const std::vector<Tensor> in = {unit(normal({3, 23, 8})).to(at::kDouble), unit(normal({3, 31, 8}, 1, 2)).to(at::kDouble)};
  const Tensor q_labels = integers(4, {3, 23}), k_labels = integers(4, {3, 31}, 2);
  for (const Offset offset : {Offset(), Offset(0), Offset(-3), Offset(5), Offset(100)}) {
    for (const bool with_labels : {false, true}) {
      const Tensor ql = with_labels ? q_labels : Tensor(), kl = with_labels ? k_labels : Tensor();
      const auto ours = run_both_ways(softmax_of(offset, ql, kl), in), dense = run_both_ways(dense_softmax_of(offset, ql, kl), in);
      for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(at::allclose(ours[i], dense[i], 1e-12, 1e-13)) << i;
    }
  }
}

TEST(PairSoftmax, GradientsMatchDifferences) {
  const std::vector<Tensor> in = {normal({2, 5, 3}), normal({2, 4, 3}, 1, 2)};
  const Tensor q_labels = integers(3, {2, 5}), k_labels = integers(3, {2, 4}, 2);
  for (const Offset offset : {Offset(), Offset(0), Offset(-1)}) {
    expect_gradients_match_differences(softmax_of(offset), in);
    expect_gradients_match_differences(softmax_of(offset, q_labels, k_labels), in);
  }
  const auto itself = [](const auto& x) { return side_by_side(pair_softmax(x[0], x[0], kTemperature, 0)); };
  expect_gradients_match_differences(itself, {normal({2, 5, 3})});
  expect_gradients_match_differences([](const auto& x) { return pair_logsumexp(x[0], x[1], kTemperature, 0); }, in);
  expect_gradients_match_differences([](const auto& x) { return pair_softmax(x[0], x[1], kTemperature, 0).mean; }, in);
}

TEST(PairSoftmax, LogSumExpAloneIsTheSame) {
  const std::vector<Tensor> in = {unit(normal({2, 40, 16})), unit(normal({2, 40, 16}, 1, 2))};
  const auto alone = run_both_ways([](const auto& x) { return pair_logsumexp(x[0], x[1], kTemperature, 0); }, in);
  const auto of_both = run_both_ways([](const auto& x) { return pair_softmax(x[0], x[1], kTemperature, 0).lse; }, in);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(at::equal(alone[i], of_both[i])) << i;
}

// Equal vectors have a uniform softmax, whose entropy is log(n - 1).
TEST(PairSoftmax, EntropyOfCollapsedVectorsIsTheLogOfTheirNumber) {
  const Tensor z = unit(at::ones({1, 65, 16}));
  const auto [lse, mean] = pair_softmax(z, z, kTemperature, 0);
  EXPECT_TRUE(at::allclose(lse - mean, at::full({1, 65}, std::log(64.0)), 1e-6));
  EXPECT_TRUE(at::allclose(mean, at::full({1, 65}, 2.0f), 1e-6));
}

TEST(PairSoftmax, RowsWithoutPairs) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const Tensor z = normal({2, 3, 4}).to(dtype).requires_grad_();
    const Tensor labels = ids_of({7, 7, 7, 1, 2, 1}).view({2, 3});  // the first group has nothing to compare
    const auto [lse, mean] = pair_softmax(z, z, kTemperature, 0, labels, labels);
    EXPECT_TRUE(at::equal(lse[0], at::full({3}, -INFINITY, dtype)));
    EXPECT_TRUE(at::equal(mean[0], at::zeros({3}, dtype)));
    EXPECT_TRUE(lse[1].isfinite().all().item<bool>());
    const Tensor grad = torch::autograd::grad({(lse + mean).sum()}, {z})[0];
    EXPECT_TRUE(at::equal(grad[0], at::zeros({3, 4}, dtype)));
    EXPECT_GT(grad[1].abs().max().item<double>(), 0);
    const Tensor single = normal({1, 1, 4}).to(dtype);
    EXPECT_EQ(pair_logsumexp(single, single, kTemperature, 0).item<double>(), -INFINITY);
  }
}

TEST(PairSoftmax, NonFinitePropagates) {
  Tensor q = unit(normal({1, 40, 8}));
  q[0][33][2] = NAN;
  const auto results = run_both_ways(softmax_of({}), {q, unit(normal({1, 50, 8}, 1, 2))});
  EXPECT_TRUE(results[0][0][33].isnan().item<bool>());
  EXPECT_TRUE(results[0][0][0].isfinite().item<bool>());
  EXPECT_TRUE(results[1][0][33].isnan().any().item<bool>());
}

TEST(PairSoftmax, RepeatsAndIsTheSameWithoutGradients) {
  expect_repeats(softmax_of(0), {unit(normal({2, 700, 32})), unit(normal({2, 500, 32}, 1, 2))});
  expect_repeats([](const auto& x) { return side_by_side(pair_softmax(x[0], x[0], kTemperature, 0)); }, {unit(normal({2, 700, 32}))});
}

TEST(PairSoftmax, FrozenSideGetsNoGradient) {
  const Tensor q = normal({1, 4, 8}).requires_grad_(), k = normal({1, 5, 8}), other = normal({1, 4, 8});
  pair_logsumexp(q, k, kTemperature, {}).sum().backward();
  EXPECT_TRUE(q.grad().defined());
  EXPECT_FALSE(k.grad().defined());
  const Tensor keys = k.clone().requires_grad_();
  pair_logsumexp(other, keys, kTemperature, {}).sum().backward();
  EXPECT_TRUE(keys.grad().defined());
}

TEST(PairSoftmax, StoresNoMatrixOfPairs) {
  const Tensor z = unit(normal({1, 8192, 2})).requires_grad_();
  const LargestAllocation largest;
  pair_softmax(z, z, kTemperature, 0).lse.sum().backward();
  EXPECT_LE(largest.bytes(), 4 << 22);  // the matrix has 16 times that
}

TEST(PairSoftmax, RejectsWrongArguments) {
  const Tensor q = normal({2, 4, 8}), k = normal({2, 5, 8});
  const Tensor q_labels = integers(3, {2, 4}), k_labels = integers(3, {2, 5});
  EXPECT_THROW(pair_softmax(q, normal({2, 5, 7}), 1, {}), c10::Error);
  EXPECT_THROW(pair_softmax(q, normal({1, 5, 8}), 1, {}), c10::Error);
  EXPECT_THROW(pair_softmax(q, k.to(at::kDouble), 1, {}), c10::Error);
  EXPECT_THROW(pair_softmax(q, k, 0, {}), c10::Error);
  EXPECT_THROW(pair_softmax(q, k, 1, {}, q_labels), c10::Error);
  EXPECT_THROW(pair_softmax(q, k, 1, {}, k_labels, q_labels), c10::Error);
  EXPECT_THROW(pair_softmax(q, k, 1, {}, q_labels.to(at::kInt), k_labels.to(at::kInt)), c10::Error);
}

TEST(PairHinge, MatchesTheMatrixOfPairs) {
  for (const int64_t n : {2, 3, 17, 300}) {
    const Function dense = [](const auto& in) {
      const int64_t size = in[0].size(1);
      const Tensor off_diagonal = 1 - at::eye(size, in[0].options());
      return ((at::matmul(in[0], in[0].transpose(1, 2)) - 0.5).clamp_min(0) * off_diagonal).sum({1, 2}) / static_cast<double>(size * (size - 1));
    };
    const std::vector<Tensor> in = {unit(normal({3, n, 2})).to(at::kDouble)};
    const auto ours = run_both_ways([](const auto& x) { return pair_hinge(x[0], 0.5); }, in), expected = run_both_ways(dense, in);
    for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(at::allclose(ours[i], expected[i], 1e-12, 1e-14)) << i;
  }
}

TEST(PairHinge, GradientsMatchDifferences) {
  expect_gradients_match_differences([](const auto& in) { return pair_hinge(in[0], 0.3); }, {normal({2, 5, 3})});
}

TEST(PairHinge, KnownValues) {
  const Tensor z = unit(at::ones({1, 9, 4}));
  EXPECT_NEAR(pair_hinge(z, 0.25).item<double>(), 0.75, 1e-6);  // every cosine is 1
  EXPECT_EQ(pair_hinge(at::eye(4).unsqueeze(0), 0.5).item<double>(), 0);
  EXPECT_EQ(pair_hinge(normal({1, 1, 4}), 0.5).item<double>(), 0);
}

}  // namespace
}  // namespace entrain::ops
