// Gradients of the losses against finite differences, and losses over ranks against a single process.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "entrain/entanglement/pair_sums.h"
#include "loss_cases.h"
#include "thread_ranks.h"

namespace entrain::entanglement {
namespace {

/// Gradients in h and W of the loss of v = h W^T against central differences along every coordinate of W and along 12 directions of h.
void expect_gradients(const MicroBatch& batch, const Config& config, const std::string& name) {
  const Tensor h = normal({kRows, kPositions, kStates}, 7), w = normal({kWidth, kStates}, 8) * 0.4;
  const auto positives = make_positives(config, batch.context);
  const auto value = [&](const Tensor& states, const Tensor& projection) { return loss(at::matmul(states, projection.t()), config, batch.context, *positives); };
  const Tensor h_leaf = h.clone().requires_grad_(), w_leaf = w.clone().requires_grad_();
  const auto gradients = torch::autograd::grad({value(h_leaf, w_leaf)}, {h_leaf, w_leaf});
  constexpr double kStep = 1e-5;
  // Central differences: truncation step^2 |f'''| / 6 and rounding 1e-16 |f| / step, both about 1e-10 times the sizes met here.
  const double tolerance = 1e-7 * (1 + gradients[1].abs().max().item<double>());
  EXPECT_GT(gradients[0].abs().max().item<double>(), 1e-6) << name;
  EXPECT_GT(gradients[1].abs().max().item<double>(), 1e-6) << name;
  for (int64_t i = 0; i < w.numel(); ++i) {
    Tensor step = at::zeros({w.numel()}, at::kDouble);
    step[i] = kStep;
    step = step.view_as(w);
    EXPECT_NEAR(gradients[1].view(-1)[i].item<double>(), (value(h, w + step) - value(h, w - step)).item<double>() / (2 * kStep), tolerance) << name << " W " << i;
  }
  for (uint64_t i = 0; i < 12; ++i) {
    const Tensor step = normal(h.sizes(), 100 + i) * kStep;
    EXPECT_NEAR((gradients[0] * step).sum().item<double>() / kStep, (value(h + step, w) - value(h - step, w)).item<double>() / (2 * kStep), 10 * tolerance)
        << name << " h " << i;
  }
}

TEST(EntanglementLossGradient, OfPairLosses) {
  const MicroBatch batch;
  for (const std::string loss_name : {"infonce", "literal", "align_uniform"}) {
    for (const std::string pairs : {"exact", "random_features", "positive_features"}) expect_gradients(batch, config_of(loss_name, "window", pairs), loss_name + " " + pairs);
    Config fft = config_of(loss_name, "next", "fft");
    fft.scope = "sequence";
    expect_gradients(batch, fft, loss_name + " fft");
  }
  Config floor = config_of("entropy_floor");
  floor.entropy_share = 0.9;
  expect_gradients(batch, floor, "entropy_floor");
  expect_gradients(batch, config_of("simctg"), "simctg");
  Config rows = config_of("infonce", "same_token");
  rows.scope = "sequence";
  expect_gradients(batch, rows, "infonce by rows");
  expect_gradients(batch, config_of("infonce", "ppmi"), "infonce ppmi");
  expect_gradients(MicroBatch(2), config_of("contraclm", "views"), "contraclm");
}

TEST(EntanglementLossGradient, WhereEstimatesAreClipped) {
  const MicroBatch batch;
  Config config = config_of("infonce", "next", "random_features");
  config.frequencies = 2;
  config.temperature = 0.25;
  const Tensor z = unit(at::matmul(normal({kRows, kPositions, kStates}, 7), normal({kWidth, kStates}, 8).t())).view({1, kAll, kWidth});
  const Tensor clipped = log_row_sums(z, config, batch.context) < std::log(kAll - 1.0) - 4 + 1e-9;
  EXPECT_GT(clipped.sum().item<int64_t>(), 0);  // the branch is taken, though not by all
  EXPECT_LT(clipped.sum().item<int64_t>(), kAll);
  expect_gradients(batch, config, "clipped");
}

TEST(EntanglementLossGradient, OfMomentLosses) {
  const MicroBatch batch;
  for (const std::string name : {"ecf", "sigreg", "hsic", "cosreg", "decov", "barlow", "vicreg", "total_correlation", "attribute_hsic"}) {
    expect_gradients(batch, config_of(name, name == "barlow" ? "same_token" : "next"), name);
  }
}

/// Loss and gradient of the whole batch against those of three ranks with a third of the texts each, in all their views.
void expect_equal_over_ranks(const Config& config, const std::string& name) {
  constexpr int64_t kRanks = 3, kTextsEach = 2, kTexts = kRanks * kTextsEach;
  const int64_t views = config.positives == "views" ? 2 : 1;
  const MicroBatch whole(views, views * kTexts);
  const Tensor v = normal({views * kTexts, kPositions, kWidth}, 9);
  // (views x kTextsEach) rows of the whole batch that a rank has, one view after the other
  const auto rows_of = [&](int64_t rank) {
    return (at::arange(views, at::kLong).unsqueeze(1) * kTexts + at::arange(kTextsEach, at::kLong) + rank * kTextsEach).reshape({-1});
  };
  const Tensor leaf = v.clone().requires_grad_();
  const Tensor expected = loss(leaf, config, whole.context, *make_positives(config, whole.context));
  const Tensor expected_gradient = torch::autograd::grad({expected}, {leaf})[0];
  std::vector<Tensor> gradients(kRanks), values(kRanks);
  run_ranks(kRanks, [&](Communicator& ranks) {
    Context context = whole.context;
    const Tensor rows = rows_of(ranks.rank());
    context.ids = whole.context.ids.index_select(0, rows);
    context.attribute = whole.context.attribute.index_select(0, rows);
    context.ranks = &ranks;
    const Tensor own = v.index_select(0, rows).requires_grad_();
    const Tensor value = loss(own, config, context, *make_positives(config, context));
    values[static_cast<size_t>(ranks.rank())] = value.detach();
    gradients[static_cast<size_t>(ranks.rank())] = torch::autograd::grad({value}, {own})[0];
  });
  for (const Tensor& value : values) EXPECT_NEAR(value.item<double>(), expected.item<double>(), kRounding) << name;
  // Each rank's gradient is that of the sum of three equal losses.
  for (int64_t rank = 0; rank < kRanks; ++rank) {
    EXPECT_LT((gradients[static_cast<size_t>(rank)] / kRanks - expected_gradient.index_select(0, rows_of(rank))).abs().max().item<double>(), kRounding) << name << " " << rank;
  }
  EXPECT_GT(expected_gradient.abs().max().item<double>(), 1e-6) << name;
}

TEST(EntanglementLossRanks, PairLossesEqualTheSingleProcess) {
  for (const std::string positives : {"next", "window", "same_token", "ppmi", "views"}) {
    for (const std::string pairs : {"exact", "random_features", "positive_features"}) {
      for (const std::string name : {"infonce", "align_uniform"}) expect_equal_over_ranks(config_of(name, positives, pairs), name + " " + positives + " " + pairs);
    }
  }
  for (const std::string name : {"literal", "entropy_floor", "simctg"}) {
    Config config = config_of(name);
    config.entropy_share = 0.9;
    expect_equal_over_ranks(config, name);
    config.scope = "sequence";
    expect_equal_over_ranks(config, name + " by rows");
  }
  expect_equal_over_ranks(config_of("contraclm", "views"), "contraclm");
  for (const std::string positives : {"window", "same_token"}) {
    for (const std::string name : {"infonce", "align_uniform"}) {
      Config fft = config_of(name, positives, "fft");
      fft.scope = "sequence";
      expect_equal_over_ranks(fft, name + " " + positives + " fft");
    }
  }
  Config rows = config_of("align_uniform", "same_token");
  rows.scope = "sequence";
  expect_equal_over_ranks(rows, "align_uniform by rows");
}

TEST(EntanglementLossRanks, MomentLossesEqualTheSingleProcess) {
  for (const std::string name : {"ecf", "sigreg", "hsic", "cosreg", "decov", "barlow", "vicreg", "total_correlation", "attribute_hsic"}) {
    expect_equal_over_ranks(config_of(name, "same_token"), name);
  }
}

}  // namespace
}  // namespace entrain::entanglement
