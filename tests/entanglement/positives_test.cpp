#include "entrain/entanglement/positives.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>

#include "states.h"
#include "thread_ranks.h"

namespace entrain::entanglement {
namespace {

constexpr int64_t kRows = 4, kPositions = 7, kAll = kRows * kPositions, kVocab = 9;

struct MicroBatch {
  TokenStatistics statistics = random_statistics(kVocab, 3);
  Context context;
  explicit MicroBatch(int64_t views = 1) {
    context.ids = integers({kRows, kPositions}, kVocab, 1);
    context.views = views;
    context.statistics = &statistics;
  }
  int64_t id(int64_t i) const { return context.ids.view(-1)[i].item<int64_t>(); }
};

/// Row-stochastic matrix of weights(i, j) for j != i; rows without weight stay 0.
Tensor dense(const std::function<double(int64_t, int64_t)>& weights) {
  const Tensor a = at::zeros({kAll, kAll}, at::kDouble);
  for (int64_t i = 0; i < kAll; ++i) {
    for (int64_t j = 0; j < kAll; ++j) a[i][j] = i == j ? 0.0 : weights(i, j);
  }
  const Tensor sums = a.sum(1, true);
  return a / at::where(sums > 0, sums, 1.0);
}

int64_t row(int64_t i) { return i / kPositions; }

/// Rounding of float64 sums of tens of terms.
constexpr double kRounding = 1e-12;

void expect_is(const Positives& positives, const Tensor& expected) {
  EXPECT_LT((matrix_of(positives) - expected).abs().max().item<double>(), kRounding);
  EXPECT_TRUE(at::equal(positives.has(), expected.sum(1) > 0));
  EXPECT_TRUE(at::equal(positives.row_weights() > 0, positives.has()));
  EXPECT_DOUBLE_EQ(positives.share(), (expected.sum(1) > 0).to(at::kDouble).mean().item<double>());
  // The gradient of g.(A x) is A^T g; float32 works as float64.
  const Tensor x = normal({kAll, 3}, 5).requires_grad_(), g = normal({kAll, 3}, 6);
  const Tensor gradient = torch::autograd::grad({(positives.apply(x) * g).sum()}, {x})[0];
  EXPECT_LT((gradient - at::mm(expected.t(), g)).abs().max().item<double>(), kRounding);
  const Tensor single = positives.apply(x.detach().to(at::kFloat));
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  EXPECT_LT((single - at::mm(expected, x.detach())).abs().max().item<double>(), 1e-5);  // float32 rounding
}

TEST(EntanglementPositives, NextIsTheMeanOfWhatFollows) {
  const MicroBatch batch;
  const auto next = [](int64_t i, int64_t j) { return row(i) == row(j) && j > i && j <= i + 3 ? 1.0 : 0.0; };
  expect_is(*make_positives({.positives = "next", .next_k = 3}, batch.context), dense(next));
  expect_is(*make_positives({.positives = "next", .next_k = 100}, batch.context), dense([](int64_t i, int64_t j) { return row(i) == row(j) && j > i ? 1.0 : 0.0; }));
}

TEST(EntanglementPositives, NextAndWindowStayInTheDocument) {
  MicroBatch batch;
  batch.context.segments = at::tensor({0, 0, 0, 1, 1, 2, 2}, at::kInt).expand({kRows, kPositions}).contiguous();
  const auto segment = [&](int64_t i) { return batch.context.segments.view(-1)[i].item<int>(); };
  const auto near = [&](int64_t i, int64_t j, int64_t n) { return row(i) == row(j) && segment(i) == segment(j) && std::abs(i - j) <= n; };
  expect_is(*make_positives({.positives = "next", .next_k = 2}, batch.context), dense([&](int64_t i, int64_t j) { return j > i && near(i, j, 2) ? 1.0 : 0.0; }));
  expect_is(*make_positives({.positives = "window", .window = 3, .window_decay = 0.6}, batch.context),
            dense([&](int64_t i, int64_t j) { return near(i, j, 3) ? std::pow(0.6, std::abs(i - j)) : 0.0; }));
}

TEST(EntanglementPositives, WindowFallsWithTheDistance) {
  const MicroBatch batch;
  expect_is(*make_positives({.positives = "window", .window = 4, .window_decay = 0.5}, batch.context),
            dense([](int64_t i, int64_t j) { return row(i) == row(j) && std::abs(i - j) <= 4 ? std::pow(0.5, std::abs(i - j)) : 0.0; }));
}

TEST(EntanglementPositives, SameTokenInTheBatchOrTheRow) {
  const MicroBatch batch;
  expect_is(*make_positives({.positives = "same_token"}, batch.context), dense([&](int64_t i, int64_t j) { return batch.id(i) == batch.id(j) ? 1.0 : 0.0; }));
  expect_is(*make_positives({.positives = "same_token", .scope = "sequence"}, batch.context),
            dense([&](int64_t i, int64_t j) { return row(i) == row(j) && batch.id(i) == batch.id(j) ? 1.0 : 0.0; }));
}

TEST(EntanglementPositives, FrequentTokensWeighLess) {
  MicroBatch batch;
  const Tensor counts = batch.statistics.counts, has = make_positives({.positives = "same_token"}, batch.context)->has();
  const auto expected = [&](double threshold, const Tensor& of) {
    return at::where(has, (threshold / (of / of.sum()).index_select(0, batch.context.ids.view(-1))).clamp_max(1).sqrt(), 0.0);
  };
  const Config config{.positives = "same_token", .frequency_threshold = 0.08};
  EXPECT_TRUE(at::allclose(make_positives(config, batch.context)->row_weights(), expected(0.08, counts), 0, kRounding));
  EXPECT_TRUE(at::equal(make_positives({.positives = "same_token", .frequency_threshold = 0}, batch.context)->row_weights(), has.to(at::kDouble)));
  batch.context.statistics = nullptr;  // shares of the batch
  EXPECT_TRUE(at::allclose(make_positives(config, batch.context)->row_weights(), expected(0.08, at::bincount(batch.context.ids.view(-1)).to(at::kDouble)), 0, kRounding));
}

TEST(EntanglementPositives, ViewsAreEachOther) {
  const MicroBatch batch(2);
  expect_is(*make_positives({.positives = "views"}, batch.context), dense([](int64_t i, int64_t j) { return (i + kAll / 2) % kAll == j ? 1.0 : 0.0; }));
  const MicroBatch single;
  EXPECT_THROW(make_positives({.positives = "views"}, single.context), std::logic_error);
}

TEST(EntanglementPositives, PpmiWeighsAllOthers) {
  MicroBatch batch(2);
  batch.statistics.vectors.select(0, 2).zero_();  // a token related to nothing
  const Tensor u = batch.statistics.vectors.to(at::kDouble).index({batch.context.ids.view(-1)}), products = at::mm(u, u.t());
  const auto weight = [&](int64_t i, int64_t j) { return products[i][j].item<double>(); };
  expect_is(*make_positives({.positives = "ppmi"}, batch.context), dense(weight));
  // Groups of scope `sequence`: a row and its other view.
  expect_is(*make_positives({.positives = "ppmi", .scope = "sequence"}, batch.context), dense([&](int64_t i, int64_t j) { return row(i) % 2 == row(j) % 2 ? weight(i, j) : 0.0; }));
  batch.context.statistics = nullptr;
  EXPECT_THROW(make_positives({.positives = "ppmi"}, batch.context), std::logic_error);
}

TEST(EntanglementPositives, ThePlaceboIsAFixedPermutationWithoutFixedPoints) {
  MicroBatch batch;
  const auto matrix = [&](const std::string& scope) { return matrix_of(*make_positives({.positives = "random", .scope = scope}, batch.context)); };
  const Tensor a = matrix("batch");
  EXPECT_TRUE(at::equal(a.sum(0), at::ones({kAll}, at::kDouble)));
  EXPECT_TRUE(at::equal(a.sum(1), at::ones({kAll}, at::kDouble)));
  EXPECT_EQ(a.diagonal().sum().item<double>(), 0.0);
  EXPECT_TRUE(at::equal(a.square(), a));  // of zeros and ones
  batch.context.step = 9;
  EXPECT_TRUE(at::equal(matrix("batch"), a));
  const Tensor rows = matrix("sequence").view({kRows, kPositions, kRows, kPositions}).sum({1, 3});
  EXPECT_TRUE(at::equal(rows, at::eye(kRows, at::kDouble) * static_cast<double>(kPositions)));
  batch.context.block = 1;
  EXPECT_FALSE(at::equal(matrix("batch"), a));
}

TEST(EntanglementPositives, PositionsAloneHaveNone) {
  Context context;
  context.ids = at::zeros({1, 1}, at::kLong);
  for (const std::string kind : {"next", "window", "same_token", "random"}) {
    const auto positives = make_positives({.positives = kind}, context);
    EXPECT_EQ(positives->share(), 0.0) << kind;
    EXPECT_EQ(positives->apply(at::ones({1, 2})).abs().sum().item<double>(), 0.0) << kind;
  }
}

TEST(EntanglementPositives, SameTokenAndPpmiReachOverRanks) {
  constexpr int64_t kRanks = 2;
  const MicroBatch whole;
  for (const std::string kind : {"same_token", "ppmi"}) {
    const Config config{.positives = kind};
    const Tensor x = normal({kAll, 3}, 8), expected = make_positives(config, whole.context)->apply(x);
    std::vector<Tensor> parts(kRanks);
    run_ranks(kRanks, [&](Communicator& ranks) {
      Context context = whole.context;
      context.ids = whole.context.ids.narrow(0, ranks.rank() * kRows / kRanks, kRows / kRanks);
      context.ranks = &ranks;
      parts[static_cast<size_t>(ranks.rank())] = make_positives(config, context)->apply(x.narrow(0, ranks.rank() * kAll / kRanks, kAll / kRanks));
    });
    EXPECT_LT((at::cat(parts) - expected).abs().max().item<double>(), kRounding) << kind;
  }
}

}  // namespace
}  // namespace entrain::entanglement
