#include "entrain/entanglement/monitor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "entrain/entanglement/losses.h"
#include "states.h"

namespace entrain::entanglement {
namespace {

constexpr int64_t kRows = 3, kPositions = 8, kAll = kRows * kPositions, kWidth = 6, kStates = 10;

Context context_of(int64_t rows = kRows, int64_t positions = kPositions) {
  Context context;
  context.ids = integers({rows, positions}, 5, 1);
  return context;
}

/// e^H of the squared singular values' shares.
double effective_rank(const Tensor& z) {
  const Tensor values = at::linalg_svdvals(z).square(), shares = values / values.sum();
  return std::exp(-at::xlogy(shares, shares).sum().item<double>());
}

TEST(EntanglementMonitor, ReadsWhatTheMatricesSay) {
  const Context context = context_of();
  const Config config{.width = kWidth, .positives = "next", .temperature = 0.5};
  const Tensor h = normal({kRows, kPositions, kStates}, 2, at::kFloat) + 0.3, w = normal({kWidth, kStates}, 3, at::kFloat);
  const Reading reading = read(h, w, config, context);
  const Tensor states = unit(h.view({kAll, kStates}).to(at::kDouble)), z = unit(at::mm(h.view({kAll, kStates}).to(at::kDouble), w.to(at::kDouble).t()));
  const Tensor off = 1 - at::eye(kAll, at::kDouble), cosines = at::mm(z, z.t());
  const double pairs = kAll * (kAll - 1.0);
  constexpr double kFloat32 = 2e-5;  // float32 rounding of sums over 24 positions, effective rank times ten
  EXPECT_NEAR(reading.mean_cosine, (cosines * off).sum().item<double>() / pairs, kFloat32);
  EXPECT_NEAR(reading.state_mean_cosine, (at::mm(states, states.t()) * off).sum().item<double>() / pairs, kFloat32);
  EXPECT_NEAR(reading.effective_rank, effective_rank(z), 10 * kFloat32);
  EXPECT_NEAR(reading.state_effective_rank, effective_rank(states), 10 * kFloat32);
  const Tensor squares = at::cdist(z, z).square();
  EXPECT_NEAR(reading.uniformity, std::log(((-2 * squares).exp() * off).sum().item<double>() / pairs), kFloat32);
  const auto positives = make_positives(config, context);
  EXPECT_NEAR(reading.alignment, ((matrix_of(*positives) * squares).sum(1).sum() / positives->has().sum()).item<double>(), 10 * kFloat32);
  EXPECT_DOUBLE_EQ(reading.positive_share, (kPositions - 1.0) / kPositions);
  const Tensor kernel = (cosines / 0.5).exp() * off, p = kernel / kernel.sum(1, true), entropy = -at::xlogy(p, p).sum(1) / std::log(kAll - 1.0);
  EXPECT_NEAR(reading.entropy_mean, entropy.mean().item<double>(), kFloat32);
  EXPECT_NEAR(reading.entropy_p5, at::quantile(entropy, 0.05).item<double>(), kFloat32);
  EXPECT_NEAR(reading.entropy_p95, at::quantile(entropy, 0.95).item<double>(), kFloat32);
  const Tensor singular = at::linalg_svdvals(w.to(at::kDouble)).square();
  EXPECT_NEAR(reading.head_norm, w.to(at::kDouble).norm().item<double>(), 10 * kFloat32);
  EXPECT_NEAR(reading.head_top_share, (singular[0] / singular.sum()).item<double>(), kFloat32);
  const std::vector<double> grid = {0.05, 0.1, 0.25, 0.5, 1.0, 2.0};
  EXPECT_NEAR(reading.soft_nearest_neighbour, soft_nearest_neighbour(z, context.ids.view(-1), grid), 10 * kFloat32);
  EXPECT_EQ(reading.estimate_error, 0.0);

  const std::vector<std::pair<std::string, double>> all = figures(reading);
  EXPECT_EQ(all.size(), 14u);
  const std::map<std::string, double> by_name(all.begin(), all.end());
  EXPECT_EQ(by_name.at("effective_rank"), reading.effective_rank);
  EXPECT_EQ(by_name.at("head_top_share"), reading.head_top_share);
}

TEST(EntanglementMonitor, ComparesEstimatesWithExactSums) {
  const Tensor h = normal({4, 200, kStates}, 2, at::kFloat), w = normal({kWidth, kStates}, 3, at::kFloat);
  const auto error = [&](int64_t frequencies) {
    return read(h, w, {.width = kWidth, .temperature = 0.5, .pairs = "random_features", .frequencies = frequencies}, context_of(4, 200)).estimate_error;
  };
  EXPECT_GT(error(1), 0.0);
  EXPECT_LT(error(4096), 0.05);  // sd of a pair 1/sqrt(8192) = 0.011 of a mean kernel above 0.14: below 8 % even if all pairs erred alike
}

TEST(EntanglementMonitor, ChecksTheEstimatesThatTheLossMakes) {
  const Tensor h = normal({4, 600, kStates}, 2, at::kFloat), w = normal({kWidth, kStates}, 3, at::kFloat);
  const auto error = [&](const std::string& loss, int64_t n_rows) {
    Context context = context_of(n_rows, 600);
    context.views = 2;
    return read(h.narrow(0, 0, n_rows), w, {.width = kWidth, .loss = loss, .frequencies = 1}, context).estimate_error;
  };
  EXPECT_GT(error("infonce", 4), 0.0);    // 2,400 positions: features
  EXPECT_EQ(error("infonce", 2), 0.0);    // 1,200: exact
  EXPECT_EQ(error("contraclm", 4), 0.0);  // rows of 1,200, whatever the batch holds
  EXPECT_GT(error("hsic", 2), 0.0);       // always by features
  for (const std::string loss : {"decov", "sigreg", "ecf", "cosreg"}) EXPECT_EQ(error(loss, 4), 0.0) << loss;
}

TEST(EntanglementMonitor, LongBatchesAreSampledEvenly) {
  // 2,050 tokens: every second one of the first, and all of the second direction.
  Tensor h = at::zeros({2, 2050, 2});
  h[0].select(1, 0).fill_(1);
  h[1].select(1, 1).fill_(1);
  const Reading reading = read(h, at::eye(2), {.width = 2}, context_of(2, 2050));
  // Half and half: of 2,048 others, 1,023 point the same way.
  EXPECT_NEAR(reading.mean_cosine, 1023.0 / 2047.0, 1e-5);  // float32 rounding
  EXPECT_NEAR(reading.effective_rank, 2.0, 1e-5);
}

TEST(EntanglementMonitor, AlarmsSayWhatToChange) {
  const Reading healthy{.width = 64, .mean_cosine = 0.1, .effective_rank = 40};
  EXPECT_TRUE(alarms(healthy, {.ratio = 0.1, .loss = 2.0, .floor = 0.0}).empty());
  EXPECT_TRUE(alarms(healthy, {.ratio = 1e-4, .loss = 2.0, .floor = 0.0}).empty());  // far from the floor
  EXPECT_TRUE(alarms(healthy, {.ratio = 1e-4, .loss = -50.0}).empty());              // no floor is known, nor what was before
  EXPECT_TRUE(alarms(healthy, {}).empty());
  const auto expect_one = [](const Reading& reading, const Course& course, AlarmKind kind, const std::string& fact, const std::string& fix) {
    const std::vector<Alarm> all = alarms(reading, course);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].kind, kind);
    EXPECT_NE(all[0].text.find(fact), std::string::npos) << all[0].text;
    EXPECT_NE(all[0].text.find(fix), std::string::npos) << all[0].text;
  };
  const Course busy{.ratio = 0.1, .loss = 1.0, .floor = 0.0};
  expect_one(healthy, {.ratio = 5e-4, .loss = 0.01, .floor = 0.0}, AlarmKind::kIdleProjection, "hardly any gradient", "entanglement.head_lr");
  Reading collapsed = healthy;
  collapsed.mean_cosine = 0.95;
  expect_one(collapsed, busy, AlarmKind::kCollapse, "mean cosine 0.95", "entanglement.smoothing");
  Reading flat = healthy;
  flat.effective_rank = 4.9;
  expect_one(flat, busy, AlarmKind::kLowRank, "effective rank 4.9", "entanglement.temperature");
  flat.width = 5;  // most of what five dimensions can be
  EXPECT_TRUE(alarms(flat, busy).empty());
  Reading wrong = healthy;
  wrong.estimate_error = 0.25;
  expect_one(wrong, busy, AlarmKind::kEstimates, "25 % off", "entanglement.frequencies");
}

TEST(EntanglementMonitor, AFallenGradientWithALossThatHasStoppedIsSeenWithoutAFloor) {
  const Reading healthy{.width = 64, .mean_cosine = 0.1, .effective_rank = 40};
  const auto is_idle = [&](double mean_ratio, double mean_loss) {
    return !alarms(healthy, {.mean_ratio = mean_ratio, .first_mean_ratio = 0.5, .mean_loss = mean_loss, .previous_mean_loss = 4.0}).empty();
  };
  EXPECT_TRUE(is_idle(0.0049, 4.03));
  EXPECT_TRUE(is_idle(0.0049, 3.97));
  EXPECT_FALSE(is_idle(0.0051, 4.03));  // less than a hundredfold fall
  EXPECT_FALSE(is_idle(0.0049, 3.95));  // the loss still moves by more than 1 %
}

TEST(EntanglementMonitor, HistoryHoldsMeansBetweenReadings) {
  History history;
  EXPECT_TRUE(std::isnan(history.read().ratio));  // no step yet
  for (const double ratio : {0.4, 0.2}) history.add(ratio, 5 * ratio);
  const Course first = history.read();
  EXPECT_EQ(first.ratio, 0.2);
  EXPECT_EQ(first.loss, 1.0);
  EXPECT_DOUBLE_EQ(first.mean_ratio, 0.3);
  EXPECT_DOUBLE_EQ(first.mean_loss, 1.5);
  EXPECT_TRUE(std::isnan(first.first_mean_ratio) && std::isnan(first.previous_mean_loss));
  history.add(0.1, 0.7);
  EXPECT_TRUE(history.is_first(AlarmKind::kLowRank));
  History restored;
  restored.state().copy_(history.state());
  for (History* each : {&history, &restored}) {
    const Course second = each->read();
    EXPECT_DOUBLE_EQ(second.mean_ratio, 0.1);
    EXPECT_DOUBLE_EQ(second.first_mean_ratio, 0.3);
    EXPECT_DOUBLE_EQ(second.mean_loss, 0.7);
    EXPECT_DOUBLE_EQ(second.previous_mean_loss, 1.5);
    EXPECT_FALSE(each->is_first(AlarmKind::kLowRank));
    EXPECT_TRUE(each->is_first(AlarmKind::kCollapse));
  }
}

/// Frozen states of 50 clusters with a common mean, (1, 256, 768), and their clusters.
std::pair<Tensor, Tensor> clustered_states(uint64_t seed) {
  const Tensor centres = normal({50, 768}, 1, at::kFloat), common = 0.5 * normal({768}, 2, at::kFloat);
  const Tensor clusters = integers({1, 256}, 50, seed);
  return {centres.index({clusters}) + 0.7 * normal({1, 256, 768}, seed, at::kFloat) + common, clusters};
}

/// What the layer's alarms say of a projection alone trained by Adam for 100 steps, a new batch each, with a reading every 20 steps, beside a language
/// model's gradient ten times the side loss's first one.
struct HeadTraining {
  std::vector<Alarm> alarms;
  Reading reading;
  double loss = 0, first_gradient = 0, last_gradient = 0;  // |dL/dh|
  bool said(AlarmKind kind) const {
    return std::any_of(alarms.begin(), alarms.end(), [&](const Alarm& alarm) { return alarm.kind == kind; });
  }
};

/// batch(seed): states (B, T, 768) and tokens (B, T).
HeadTraining train_head(const Config& config, Context context, const std::function<std::pair<Tensor, Tensor>(uint64_t)>& batch) {
  HeadTraining result;
  History history;
  Tensor w = normal({64, 768}, 3, at::kFloat) / std::sqrt(768.0), first = at::zeros_like(w), second = at::zeros_like(w);
  for (int64_t step = 1; step <= 100; ++step) {
    const auto [h, tokens] = batch(100 + static_cast<uint64_t>(step));
    context.ids = tokens;
    const Tensor states = h.detach().requires_grad_(), leaf = w.detach().requires_grad_();
    const Tensor value = loss(at::linear(states, leaf), config, context, *make_positives(config, context));
    const auto gradients = torch::autograd::grad({value}, {states, leaf});
    result.loss = value.item<double>();
    result.last_gradient = gradients[0].norm().item<double>();
    if (step == 1) result.first_gradient = result.last_gradient;
    history.add(0.1 * result.last_gradient / result.first_gradient, result.loss);
    first = 0.9 * first + 0.1 * gradients[1];
    second = 0.999 * second + 0.001 * gradients[1].square();
    w = w - 1e-3 * std::sqrt(1 - std::pow(0.999, step)) / (1 - std::pow(0.9, step)) * first / (second.sqrt() + 1e-8);
    if (step % 20 != 0) continue;
    result.reading = read(h, w, config, context);
    Course course = history.read();
    course.floor = loss_floor(config, context);
    for (const Alarm& alarm : alarms(result.reading, course)) result.alarms.push_back(alarm);
  }
  return result;
}

TEST(EntanglementMonitor, AProjectionThatSatisfiesTheLiteralLossAloneIsSeen) {
  const HeadTraining vacuous = train_head({.loss = "literal", .temperature = 0.1}, {}, clustered_states);
  EXPECT_LT(vacuous.loss, 0.02);
  EXPECT_GT(vacuous.reading.mean_cosine, 0.9);
  EXPECT_GT(vacuous.first_gradient / vacuous.last_gradient, 100.0);
  EXPECT_TRUE(vacuous.said(AlarmKind::kCollapse));
  EXPECT_TRUE(vacuous.said(AlarmKind::kIdleProjection));

  const HeadTraining healthy = train_head({.loss = "infonce", .positives = "same_token", .smoothing = 0.1, .temperature = 0.5, .frequency_threshold = 0}, {}, clustered_states);
  EXPECT_TRUE(healthy.alarms.empty());
  EXPECT_GT(healthy.reading.effective_rank, 30.0);
}

/// Two views that differ by little noise, of states in a narrow cone: (4, 64, 768), rows b and b + 2 one text.
std::pair<Tensor, Tensor> nearly_equal_views(uint64_t seed) {
  const Tensor text = normal({2, 64, 768}, seed, at::kFloat) + 4.0 * normal({768}, 2, at::kFloat), tokens = integers({2, 64}, 50, seed);
  const Tensor noise = 1e-3 * normal({4, 64, 768}, seed + 1000, at::kFloat);
  return {at::cat({text, text}) + noise, at::cat({tokens, tokens})};
}

TEST(EntanglementMonitor, AProjectionThatSatisfiesAContrastiveLossAloneIsSeen) {
  Context context;
  context.views = 2;
  // Taking the common direction away tells every position from every other: no need of the model.
  const Config config{.loss = "contraclm", .positives = "views", .temperature = 0.05};
  ASSERT_EQ(loss_floor(config, context), -INFINITY);
  const HeadTraining vacuous = train_head(config, context, nearly_equal_views);
  EXPECT_LT(vacuous.loss, 1e-3);
  EXPECT_LT(vacuous.reading.mean_cosine, 0.3);  // 0.94 at first: not a collapse
  EXPECT_TRUE(vacuous.said(AlarmKind::kIdleProjection)) << vacuous.first_gradient << " to " << vacuous.last_gradient;
}

/// Adam (0.9, 0.999) on unit vectors that start with a common component of 0.3: cosines of 0.09.
Tensor trained_directions(const Config& config, const Context& context, double learning_rate, int64_t steps) {
  constexpr int64_t n = 256, d = 64;
  Tensor v = std::sqrt(1 - 0.09) * unit(normal({1, n, d}, 11, at::kFloat));
  v.select(2, 0).add_(0.3);
  Tensor first = at::zeros_like(v), second = at::zeros_like(v);
  const auto positives = make_positives(config, context);
  for (int64_t step = 1; step <= steps; ++step) {
    const Tensor leaf = v.detach().requires_grad_();
    const Tensor gradient = torch::autograd::grad({loss(leaf, config, context, *positives)}, {leaf})[0];
    first = 0.9 * first + 0.1 * gradient;
    second = 0.999 * second + 0.001 * gradient.square();
    const double correction = std::sqrt(1 - std::pow(0.999, step)) / (1 - std::pow(0.9, step));
    v = v - learning_rate * correction * first / (second.sqrt() + 1e-8);
  }
  return unit(v.view({n, d}));
}

double mean_cosine(const Tensor& z) {
  const double n = static_cast<double>(z.size(0));
  return (z.sum(0).square().sum().item<double>() - n) / (n * (n - 1));
}

TEST(EntanglementCollapse, TheLiteralLossCollapsesAndSmoothedInfonceDoesNot) {
  Context context;
  context.ids = at::arange(256, at::kLong).remainder(50).view({1, 256});  // 50 clusters
  const Config literal{.loss = "literal", .temperature = 0.1};
  const Tensor collapsed = trained_directions(literal, context, 0.01, 200);
  EXPECT_GT(mean_cosine(collapsed), 0.95);
  EXPECT_LT(effective_rank(collapsed), 2.0);
  const Config smoothed{.loss = "infonce", .positives = "same_token", .smoothing = 0.1, .temperature = 0.5, .frequency_threshold = 0};
  const Tensor healthy = trained_directions(smoothed, context, 0.01, 200);
  EXPECT_LT(mean_cosine(healthy), 0.1);
  EXPECT_GT(effective_rank(healthy), 30.0);
  const Tensor a = matrix_of(*make_positives(smoothed, context)).to(at::kFloat);
  EXPECT_GT((healthy * at::mm(a, healthy)).sum(1).mean().item<double>(), 0.8);  // clusters have formed
}

}  // namespace
}  // namespace entrain::entanglement
