#include "entrain/experts/causal_depth.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/experts/depth.h"

namespace entrain::experts {
namespace {

constexpr int64_t kRows = 128;
constexpr double kQuantile = 0.99;

std::vector<double> doubles(const Tensor& x) { return {x.data_ptr<double>(), x.data_ptr<double>() + x.numel()}; }
double mean_of(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()); }

/// Effects of one batch of equal length: element k - 1 for paths of length k.
std::vector<PathEffect> batch_effects(const Entangled& entangled, std::span<const ExamplePair* const> pairs, std::span<const int64_t> path, int64_t n_rounds, const Edges& edges) {
  std::vector<const Example*> clean, other;
  std::vector<int64_t> clean_answers, other_answers;
  for (const ExamplePair* pair : pairs) {
    clean.push_back(&pair->clean);
    other.push_back(&pair->other);
    clean_answers.push_back(pair->clean.answer);
    other_answers.push_back(pair->other.answer);
  }
  const Tensor from = at::tensor(clean_answers).unsqueeze(1), to = at::tensor(other_answers).unsqueeze(1);
  const std::vector<Prompts> prompts = collate(clean), other_prompts = collate(other);
  const Observation& observation = entangled.observation();
  const std::vector<States> states = observation.rounds(entangled.read(prompts), n_rounds, edges);
  const auto logits_of = [&](int64_t i, const Tensor& state) {
    return entangled.answer_logits(i, entangled.finish(i, state, Entangled::prompt_of(prompts, i))).to(at::kDouble);
  };
  std::map<int64_t, Tensor> clean_logits;
  for (int64_t k = 1; k <= n_rounds; ++k) {
    const int64_t end = path[static_cast<size_t>(k)];
    if (!clean_logits.contains(end)) clean_logits[end] = logits_of(end, states.back()[static_cast<size_t>(end)]);
  }
  std::vector<PathEffect> effects;
  Tensor carried = entangled.read(other_prompts)[static_cast<size_t>(path[0])];
  for (int64_t k = 1; k <= n_rounds; ++k) {
    const int64_t source = path[static_cast<size_t>(k - 1)], reader = path[static_cast<size_t>(k)];
    States seen = states[static_cast<size_t>(k - 1)];
    seen[static_cast<size_t>(source)] = carried;
    carried = observation.update(reader, states[static_cast<size_t>(k - 1)][static_cast<size_t>(reader)], seen, edges);
    Tensor own = carried;
    for (int64_t r = k; r < n_rounds; ++r) own = observation.update(reader, own, states[static_cast<size_t>(r)], edges);
    const Tensor before = clean_logits[reader], after = logits_of(reader, own), change = after - before;
    const Tensor toward = (change.gather(1, to) - change.gather(1, from)).squeeze(1);
    effects.push_back({(change - change.mean(1, /*keepdim=*/true)).square().mean(1).sqrt(), toward, jensen_shannon(after, before)});
  }
  return effects;
}

/// Means over `paths` whose end counts: shift, toward, jsd, (n) each, undefined where no path counts; and how many do.
struct LengthEffects {
  std::vector<double> shift, toward, jsd;
  int64_t n_paths = 0;
};

std::vector<LengthEffects> mean_effects(const Entangled& entangled, std::span<const ExamplePair> pairs, const std::vector<std::pair<int64_t, int64_t>>& paths, const Edges& edges, int64_t n_rounds) {
  const int64_t asker = pairs[0].clean.asker;
  for (const ExamplePair& pair : pairs) ENTRAIN_CHECK(pair.clean.asker == asker, "examples with different askers");
  std::vector<Tensor> shift(static_cast<size_t>(n_rounds)), toward = shift, jsd = shift;
  std::vector<LengthEffects> out(static_cast<size_t>(n_rounds));
  const auto add = [](Tensor& sum, const Tensor& x) { sum = sum.defined() ? sum + x : x; };
  for (const auto& [i, j] : paths) {
    std::vector<int64_t> path;
    for (int64_t k = 0; k <= n_rounds; ++k) path.push_back(k % 2 == 0 ? i : j);
    if (asker >= 0 && i != asker && j != asker) continue;
    const std::vector<PathEffect> effects = path_effects(entangled, pairs, path, n_rounds, edges);
    for (size_t k = 0; k < effects.size(); ++k) {
      if (asker >= 0 && path[k + 1] != asker) continue;
      ++out[k].n_paths;
      add(shift[k], effects[k].shift);
      add(toward[k], effects[k].toward);
      add(jsd[k], effects[k].jsd);
    }
  }
  for (size_t k = 0; k < out.size(); ++k) {
    if (out[k].n_paths == 0) continue;
    const double n = static_cast<double>(out[k].n_paths);
    out[k].shift = doubles(shift[k] / n);
    out[k].toward = doubles(toward[k] / n);
    out[k].jsd = doubles(jsd[k] / n);
  }
  return out;
}

/// Means of `n` values drawn with replacement.
std::vector<double> resampled_means(std::span<const double> values, size_t n, int64_t n_resamples, RandomStream random) {
  std::vector<double> means;
  for (int64_t b = 0; b < n_resamples; ++b) {
    double sum = 0;
    for (size_t k = 0; k < n; ++k) sum += values[random.next_below(values.size())];
    means.push_back(sum / static_cast<double>(n));
  }
  return means;
}

/// Chance that labels drawn anew give a difference of means as large.
double permutation_p(std::span<const double> a, std::span<const double> b, int64_t n_resamples, RandomStream random) {
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const double total = std::accumulate(all.begin(), all.end(), 0.0), observed = std::accumulate(a.begin(), a.end(), 0.0);
  int64_t as_large = 0;
  for (int64_t draw = 0; draw < n_resamples; ++draw) {
    double sum = 0;
    for (size_t k = 0; k < a.size(); ++k) {
      std::swap(all[k], all[k + random.next_below(all.size() - k)]);
      sum += all[k];
    }
    as_large += sum >= observed - 1e-12 * total;
  }
  return static_cast<double>(as_large + 1) / static_cast<double>(n_resamples + 1);
}

}  // namespace

std::vector<PathEffect> path_effects(const Entangled& entangled, std::span<const ExamplePair> pairs, std::span<const int64_t> path, int64_t n_rounds, const Edges& edges) {
  ENTRAIN_CHECK(!pairs.empty() && n_rounds >= 1 && std::ssize(path) > n_rounds, std::to_string(pairs.size()) + " pairs, a path of " + std::to_string(path.size()) + " experts");
  const at::NoGradGuard no_grad;
  const int64_t n = std::ssize(pairs);
  std::map<size_t, std::vector<int64_t>> by_length;
  for (size_t k = 0; k < pairs.size(); ++k) {
    const size_t length = pairs[k].clean.prompts.at(0).size();
    ENTRAIN_CHECK(pairs[k].other.prompts.size() == pairs[k].clean.prompts.size() && pairs[k].other.prompts[0].size() == length, "a pair of unequal length");
    by_length[length].push_back(static_cast<int64_t>(k));
  }
  std::vector<PathEffect> out;
  for (int64_t k = 0; k < n_rounds; ++k) out.push_back({at::zeros({n}, at::kDouble), at::zeros({n}, at::kDouble), at::zeros({n}, at::kDouble)});
  for (const auto& [length, members] : by_length) {
    for (int64_t begin = 0; begin < std::ssize(members); begin += kRows) {
      const std::vector<int64_t> some(members.begin() + begin, members.begin() + std::min<int64_t>(begin + kRows, std::ssize(members)));
      std::vector<const ExamplePair*> batch;
      for (const int64_t k : some) batch.push_back(&pairs[static_cast<size_t>(k)]);
      const std::vector<PathEffect> effects = batch_effects(entangled, batch, path, n_rounds, edges);
      const Tensor at_some = at::tensor(some);
      for (size_t k = 0; k < effects.size(); ++k) {
        out[k].shift.index_copy_(0, at_some, effects[k].shift);
        out[k].toward.index_copy_(0, at_some, effects[k].toward);
        out[k].jsd.index_copy_(0, at_some, effects[k].jsd);
      }
    }
  }
  return out;
}

CausalDepth causal_depth(const Entangled& entangled, std::span<const ExamplePair> counterfactual, std::span<const ExamplePair> equivalent, const Edges& edges, const CausalOptions& options) {
  ENTRAIN_CHECK(!counterfactual.empty() && !equivalent.empty(), std::to_string(counterfactual.size()) + " counterfactual and " + std::to_string(equivalent.size()) + " equivalent pairs");
  std::vector<std::pair<int64_t, int64_t>> paths = options.paths;
  if (paths.empty()) {
    for (int64_t i = 0; i < std::ssize(edges); ++i) {
      for (int64_t j = 0; j < std::ssize(edges); ++j) {
        if (i != j && edges[static_cast<size_t>(i)][static_cast<size_t>(j)] && edges[static_cast<size_t>(j)][static_cast<size_t>(i)]) paths.emplace_back(i, j);
      }
    }
  }
  const auto causal = mean_effects(entangled, counterfactual, paths, edges, options.n_rounds), null = mean_effects(entangled, equivalent, paths, edges, options.n_rounds);
  CausalDepth out;
  for (size_t k = 0; k < causal.size(); ++k) {
    CausalLength length;
    length.length = static_cast<int64_t>(k) + 1;
    length.n_paths = causal[k].n_paths;
    if (length.n_paths > 0 && null[k].n_paths > 0) {
      length.effect = mean_of(causal[k].shift);
      length.null_effect = mean_of(null[k].shift);
      length.jsd = mean_of(causal[k].jsd);
      length.null_jsd = mean_of(null[k].jsd);
      const auto random = [&](const char* name) { return stream(options.seed, name, k); };
      std::vector<double> means = resampled_means(null[k].shift, causal[k].shift.size(), options.n_resamples, random("depth/null"));
      length.threshold = statistics::percentile_interval(length.null_effect, std::move(means), 2 * kQuantile - 1).high;
      length.p = permutation_p(causal[k].shift, null[k].shift, options.n_resamples, random("depth/permutation"));
      length.toward = statistics::percentile_interval(mean_of(causal[k].toward), resampled_means(causal[k].toward, causal[k].toward.size(), options.n_resamples, random("depth/toward")), 0.95);
      length.beyond = length.effect > length.threshold;
      if (length.beyond) out.depth = length.length;
    }
    out.lengths.push_back(length);
  }
  return out;
}

}  // namespace entrain::experts
