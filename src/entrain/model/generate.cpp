#include "entrain/model/generate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "entrain/base/error.h"

namespace entrain::model {

namespace {

/// The tokens that the filters keep, likeliest first, and their probabilities up to a common factor.
struct Candidates {
  std::vector<int64_t> ids;
  std::vector<double> weights;
  double sum() const { return std::accumulate(weights.begin(), weights.end(), 0.0); }
};

Candidates candidates(std::span<const double> logits, const Sampling& s) {
  Candidates kept;
  kept.ids.resize(logits.size());
  std::iota(kept.ids.begin(), kept.ids.end(), 0);
  std::stable_sort(kept.ids.begin(), kept.ids.end(), [&](int64_t a, int64_t b) { return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]; });
  size_t n_kept = kept.ids.size();
  if (s.top_k > 0) n_kept = std::min(n_kept, static_cast<size_t>(s.top_k));
  kept.weights.resize(n_kept);
  const double highest = logits[static_cast<size_t>(kept.ids.front())];
  double sum = 0;
  for (size_t i = 0; i < n_kept; ++i) sum += kept.weights[i] = std::exp((logits[static_cast<size_t>(kept.ids[i])] - highest) / s.temperature);
  if (s.top_p < 1.0) {
    double mass = 0;
    size_t n = 0;
    while (n < n_kept && mass < s.top_p * sum) mass += kept.weights[n++];
    n_kept = std::max<size_t>(n, 1);
  }
  while (n_kept > 1 && kept.weights[n_kept - 1] < s.min_p * kept.weights[0]) --n_kept;
  kept.ids.resize(n_kept);
  kept.weights.resize(n_kept);
  return kept;
}

Tensor in_doubles(const Tensor& logits) { return logits.detach().to(at::kDouble).cpu().contiguous(); }

std::span<const double> numbers(const Tensor& dense) { return {dense.const_data_ptr<double>(), static_cast<size_t>(dense.numel())}; }

}  // namespace

int64_t sample(const Tensor& logits, const Sampling& s, uint64_t index) {
  if (s.temperature <= 0.0) return logits.argmax().item<int64_t>();
  const Tensor dense = in_doubles(logits);
  const Candidates kept = candidates(numbers(dense), s);
  double left = stream(s.seed, "sample", index).next_uniform() * kept.sum();
  for (size_t i = 0; i < kept.ids.size(); ++i) {
    left -= kept.weights[i];
    if (left < 0) return kept.ids[i];
  }
  return kept.ids.back();
}

std::optional<std::vector<double>> distribution(const Tensor& logits, const Sampling& s) {
  const Tensor dense = in_doubles(logits);
  const std::span<const double> values = numbers(dense);
  for (const double value : values) {
    if (!std::isfinite(value)) return std::nullopt;
  }
  std::vector<double> shares(values.size(), 0.0);
  if (s.temperature <= 0.0) {
    shares[static_cast<size_t>(logits.argmax().item<int64_t>())] = 1.0;
    return shares;
  }
  if (s.top_k <= 0 && s.top_p >= 1.0 && s.min_p <= 0.0) {  // nothing to filter, so nothing to sort
    const double highest = *std::max_element(values.begin(), values.end());
    for (size_t i = 0; i < values.size(); ++i) shares[i] = std::exp((values[i] - highest) / s.temperature);
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= sum;
    return shares;
  }
  const Candidates kept = candidates(values, s);
  const double sum = kept.sum();
  for (size_t i = 0; i < kept.ids.size(); ++i) shares[static_cast<size_t>(kept.ids[i])] = kept.weights[i] / sum;
  return shares;
}

std::vector<int64_t> starting_ids(std::span<const int32_t> prompt, const std::vector<int32_t>& eos) {
  std::vector<int64_t> ids(prompt.begin(), prompt.end());
  if (ids.empty() && !eos.empty()) ids.push_back(eos.front());
  if (ids.empty()) throw Error(ErrorKind::kUsage, "the prompt is empty and the tokenizer has no end-of-text token to start from", "give a prompt");
  return ids;
}

std::vector<int32_t> generate(const Transformer& model, std::span<const int32_t> prompt, const Sampling& sampling, const std::vector<int32_t>& eos,
                              const std::function<void(int32_t)>& on_token) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> ids = starting_ids(prompt, eos);
  KvCache cache;
  Forward forward;
  forward.cache = &cache;
  std::vector<int32_t> generated;
  while (static_cast<int64_t>(generated.size()) < sampling.n_tokens) {
    const Tensor input = at::tensor(ids).unsqueeze(0);
    const Tensor hidden = model.hidden(input, forward);
    const int64_t next = sample(model.logits(hidden.select(1, hidden.size(1) - 1)).squeeze(0), sampling, generated.size());
    if (std::find(eos.begin(), eos.end(), next) != eos.end()) break;
    generated.push_back(static_cast<int32_t>(next));
    if (on_token) on_token(generated.back());
    ids.assign(1, next);
  }
  return generated;
}

}  // namespace entrain::model
