#include "entrain/entanglement/layer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "../model/tiny_model.h"
#include "entrain/entanglement/losses.h"
#include "entrain/entanglement/positives.h"
#include "entrain/ops/ops.h"

namespace entrain::entanglement {
namespace {

using model::random_ids;
using model::tiny_config;
using model::Transformer;

constexpr int64_t kRows = 3, kPositions = 12;

Config config_of(const std::string& loss = "infonce") {
  Config config{.mode = "side", .blocks = {1}, .width = 8, .loss = loss};
  config.gate = "none";
  config.norm_cap = 0;
  config.resolve(2, 32);
  return config;
}

struct Tapped {
  Tensor ids = random_ids({kRows, kPositions}), targets = random_ids({kRows, kPositions, 1}, 100, 2);
  Transformer transformer{tiny_config("llama"), 1};
  model::Parameters own;
  Config config;
  Layer layer;
  Context context;

  explicit Tapped(const Config& given) : config(given), layer(given, 1, 32, 7, own) {
    context.ids = ids;
    context.step = 1;
  }

  /// The gradients of all weights after one pass with the layer in place.
  std::vector<Tensor> gradients(double weight) {
    model::Taps taps(2);
    taps.add("blocks.1.hook_resid_mid", [&](const Tensor& h) { return layer(h, context, weight, 1.0); });
    model::Forward forward;
    forward.taps = &taps;
    transformer.parameters().clear_gradients();
    ops::head_cross_entropy(transformer.hidden(ids, forward), transformer.head(), targets).backward();
    std::vector<Tensor> all;
    for (const Tensor& tensor : transformer.parameters().stored()) all.push_back(tensor.grad().clone());
    return all;
  }
};

TEST(EntanglementLayer, ForwardIsTheIdentity) {
  Tapped run(config_of());
  const Tensor h = at::randn({kRows, kPositions, 32}).requires_grad_();
  EXPECT_TRUE(at::equal(run.layer(h, run.context, 0.5, 1.0), h));
  EXPECT_TRUE(run.layer(h, run.context, 0.0, 1.0).is_same(h));
}

TEST(EntanglementLayer, BackwardIsThatOfTheWeightedSumOfBothLosses) {
  Tapped run(config_of());
  const double weight = 0.37;
  const std::vector<Tensor> with_layer = run.gradients(weight);
  // The same by plain autograd: the tapped states feed both losses.
  Tensor side;
  model::Taps taps(2);
  taps.add("blocks.1.hook_resid_mid", [&](const Tensor& h) {
    side = loss(at::linear(h, run.layer.projection()), run.config, run.context, *make_positives(run.config, run.context));
    return h;
  });
  model::Forward forward;
  forward.taps = &taps;
  run.transformer.parameters().clear_gradients();
  const Tensor plain = ops::head_cross_entropy(run.transformer.hidden(run.ids, forward), run.transformer.head(), run.targets);
  const Tensor seen = run.own.stored()[0].grad().clone();
  run.own.clear_gradients();
  (plain + weight * side).backward();
  for (size_t i = 0; i < with_layer.size(); ++i) {
    const Tensor expected = run.transformer.parameters().stored()[i].grad();
    EXPECT_LT((with_layer[i] - expected).abs().max().item<double>(), 1e-5 * (1 + expected.abs().max().item<double>())) << i;
  }
  // The projection learns the side loss at weight 1.
  EXPECT_LT((seen * weight - run.own.stored()[0].grad()).abs().max().item<double>(), 1e-5);
  EXPECT_GT(seen.abs().max().item<double>(), 1e-4);
}

TEST(EntanglementLayer, WeightZeroIsThePlainGradient) {
  Tapped run(config_of());
  const std::vector<Tensor> with_layer = run.gradients(0.0);
  run.transformer.parameters().clear_gradients();
  ops::head_cross_entropy(run.transformer.hidden(run.ids), run.transformer.head(), run.targets).backward();
  for (size_t i = 0; i < with_layer.size(); ++i) EXPECT_TRUE(at::equal(with_layer[i], run.transformer.parameters().stored()[i].grad()));
}

TEST(EntanglementLayer, LogitsDoNotSeeLaterTokens) {
  Tapped run(config_of());
  const auto logits = [&](const Tensor& ids) {
    run.context.ids = ids;
    model::Taps taps(2);
    taps.add("blocks.1.hook_resid_mid", [&](const Tensor& h) { return run.layer(h, run.context, 0.5, 1.0); });
    model::Forward forward;
    forward.taps = &taps;
    return run.transformer.logits(run.transformer.hidden(ids, forward)).detach();
  };
  Tensor changed = run.ids.clone();
  const int64_t from = 7;
  changed.slice(1, from) = (changed.slice(1, from) + 1) % 100;
  EXPECT_TRUE(at::equal(logits(run.ids).slice(1, 0, from), logits(changed).slice(1, 0, from)));
}

TEST(EntanglementLayer, MicroBatchesShareTheWeight) {
  Tapped run(config_of());
  const Tensor h = at::randn({kRows, kPositions, 32}).requires_grad_(true);
  const auto gradient = [&](double share) {
    run.own.clear_gradients();
    const Tensor out = run.layer(h, run.context, 0.5, share);
    return torch::autograd::grad({out.sum()}, {h})[0] - 1.0;
  };
  EXPECT_TRUE(at::allclose(gradient(0.25) * 4, gradient(1.0), 1e-4, 1e-6));
}

TEST(EntanglementLayer, SideRatioDoesNotFollowTheSchedule) {
  Config config = config_of();
  config.norm_cap = 0.01;
  Tapped run(config);
  std::vector<double> ratios, added;
  for (const double weight : {1e-4, 1.0}) {
    run.gradients(weight);
    ratios.push_back(run.layer.pulse().side_ratio);
    added.push_back(run.layer.pulse().ratio);
  }
  EXPECT_NEAR(ratios[0], ratios[1], 1e-4 * ratios[1]);  // float32 rounding
  EXPECT_GT(ratios[1], 0.0);
  EXPECT_GT(added[1], 2 * added[0]);  // which the schedule and the cap bound
}

TEST(EntanglementLayer, ProjectionStartsOrthonormal) {
  Tapped run(config_of());
  const Tensor w = run.layer.projection();
  EXPECT_TRUE(at::allclose(at::mm(w, w.t()), at::eye(8), 0, 1e-5));
}

TEST(EntanglementLayer, WeightRisesAndFalls) {
  Config config{.weight = 0.4, .warmup = 0.1, .decay = 0.2};
  EXPECT_EQ(weight_at(config, 0.0), 0.0);
  EXPECT_DOUBLE_EQ(weight_at(config, 0.05), 0.2);
  EXPECT_DOUBLE_EQ(weight_at(config, 0.5), 0.4);
  EXPECT_NEAR(weight_at(config, 0.9), 0.2, 1e-12);
  EXPECT_NEAR(weight_at(config, 1.0), 0.0, 1e-12);
}

}  // namespace
}  // namespace entrain::entanglement
