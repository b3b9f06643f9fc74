#include "entrain/experts/depth.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/statistics/hypothesis.h"

namespace entrain::experts {
namespace {

constexpr double kUsefulAlpha = 0.05;
constexpr int64_t kResamples = 2000;

std::vector<double> doubles(const Tensor& x) {
  const Tensor dense = x.to(at::kDouble).contiguous();
  return {dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel()};
}

/// (R, N + 1, n): how much each round changes each expert's answers; the last row is of the judged ones.
Tensor changes(const Tensor& logits, std::span<const Example> examples) {
  const int64_t n_rounds = logits.size(0) - 1, n_experts = logits.size(1);
  const Tensor each = jensen_shannon(logits.narrow(0, 1, n_rounds), logits.narrow(0, 0, n_rounds));  // (R, N, n)
  Tensor judged = each.mean(1, /*keepdim=*/true).clone();
  for (int64_t k = 0; k < std::ssize(examples); ++k) {
    const int64_t asker = examples[static_cast<size_t>(k)].asker;
    ENTRAIN_CHECK(asker < n_experts, "asker " + std::to_string(asker) + " of " + std::to_string(n_experts) + " experts");
    if (asker >= 0) judged.select(2, k).copy_(each.select(2, k).narrow(1, asker, 1));
  }
  return at::cat({each, judged}, 1);
}

}  // namespace

Tensor jensen_shannon(const Tensor& a_logits, const Tensor& b_logits) {
  const Tensor a = a_logits.to(at::kDouble).softmax(-1), b = b_logits.to(at::kDouble).softmax(-1), mean = (a + b) / 2;
  const auto divergence = [&](const Tensor& p) { return (at::xlogy(p, p) - at::xlogy(p, mean)).sum(-1); };
  return ((divergence(a) + divergence(b)) / 2).clamp_min(0);
}

OutputDepth output_depth(const Observed& observed, std::span<const Example> examples) {
  ENTRAIN_CHECK(observed.own.size(2) == std::ssize(examples), "logits of other examples");
  OutputDepth out;
  const int64_t n_experts = observed.own.size(1);
  out.by_expert.assign(static_cast<size_t>(n_experts), 0);
  out.by_expert_noise = out.by_expert;
  if (observed.n_rounds == 0) return out;
  const Tensor change = changes(observed.own, examples), cut = changes(observed.none, examples), noise = changes(observed.noise, examples);
  for (int64_t i = 0; i <= n_experts; ++i) {
    const bool all = i == n_experts;
    int64_t& depth = all ? out.judged : out.by_expert[static_cast<size_t>(i)];
    int64_t& depth_noise = all ? out.judged_noise : out.by_expert_noise[static_cast<size_t>(i)];
    for (int64_t r = 1; r <= observed.n_rounds; ++r) {
      const auto at = [&](const Tensor& x) { return x[r - 1][i]; };
      const auto cut_test = statistics::paired_t_test(doubles(at(change) - at(cut))), noise_test = statistics::paired_t_test(doubles(at(change) - at(noise)));
      OutputRound round{r, all ? -1 : i, at(change).mean().item<double>(), at(cut).mean().item<double>(), at(noise).mean().item<double>(), cut_test.p, noise_test.p};
      round.beyond_cut = cut_test.mean.estimate > 0 && cut_test.p < kOutputAlpha;
      round.beyond_noise = noise_test.mean.estimate > 0 && noise_test.p < kOutputAlpha;
      if (round.beyond_cut) depth = r;
      if (round.beyond_noise) depth_noise = r;
      out.rounds.push_back(round);
    }
  }
  return out;
}

UsefulDepth useful_depth(const Tensor& logits, std::span<const Example> examples, int64_t expert, uint64_t seed) {
  const int64_t n = std::ssize(examples), n_experts = logits.size(1);
  ENTRAIN_CHECK(n > 0 && logits.size(2) == n && expert < n_experts, std::to_string(n) + " examples, expert " + std::to_string(expert));
  const Tensor each = logits.argmax(-1), joint = logits.to(at::kDouble).softmax(-1).mean(1).argmax(-1);  // (R + 1, N, n), (R + 1, n)
  UsefulDepth out;
  std::vector<std::vector<uint8_t>> correct;
  for (int64_t r = 0; r < logits.size(0); ++r) {
    std::vector<uint8_t> marks;
    for (int64_t k = 0; k < n; ++k) {
      const Example& example = examples[static_cast<size_t>(k)];
      const int64_t who = expert >= 0 ? expert : example.asker;
      marks.push_back((who >= 0 ? each[r][who][k] : joint[r][k]).item<int64_t>() == example.answer);
    }
    out.accuracy.push_back(static_cast<double>(std::count(marks.begin(), marks.end(), 1)) / static_cast<double>(n));
    correct.push_back(std::move(marks));
  }
  std::vector<double> p_values;
  for (size_t r = 1; r < correct.size(); ++r) {
    UsefulRound round;
    round.round = static_cast<int64_t>(r);
    std::vector<statistics::PairedUnit> units;
    for (size_t k = 0; k < correct[r].size(); ++k) {
      round.gained += correct[r][k] && !correct[r - 1][k];
      round.lost += !correct[r][k] && correct[r - 1][k];
      units.push_back({static_cast<double>(correct[r][k]), static_cast<double>(correct[r - 1][k]), 1.0});
    }
    round.gain = statistics::paired_bootstrap(units, kResamples, stream(seed, "depth/useful", r));
    round.p = statistics::mcnemar_exact(round.gained, round.lost);
    p_values.push_back(round.p);
    out.rounds.push_back(round);
  }
  const std::vector<double> corrected = statistics::holm(p_values);
  for (size_t r = 0; r < out.rounds.size(); ++r) {
    UsefulRound& round = out.rounds[r];
    round.p_holm = corrected[r];
    round.useful = round.gain.low > 0 && round.p_holm <= kUsefulAlpha;
    if (round.useful) out.depth = round.round;
  }
  return out;
}

}  // namespace entrain::experts
