#include "entrain/model/generate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "entrain/base/error.h"

namespace entrain::model {

int64_t sample(const Tensor& logits, const Sampling& s, uint64_t index) {
  if (s.temperature <= 0.0) return logits.argmax().item<int64_t>();
  const Tensor dense = logits.detach().to(at::kDouble).cpu().contiguous();
  const double* values = dense.data_ptr<double>();
  std::vector<int64_t> order(static_cast<size_t>(dense.numel()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  size_t kept = order.size();
  if (s.top_k > 0) kept = std::min(kept, static_cast<size_t>(s.top_k));
  std::vector<double> probabilities(kept);
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) sum += probabilities[i] = std::exp((values[order[i]] - values[order[0]]) / s.temperature);
  if (s.top_p < 1.0) {
    double mass = 0;
    size_t n = 0;
    while (n < kept && mass < s.top_p * sum) mass += probabilities[n++];
    kept = std::max<size_t>(n, 1);
  }
  while (kept > 1 && probabilities[kept - 1] < s.min_p * probabilities[0]) --kept;
  sum = std::accumulate(probabilities.begin(), probabilities.begin() + static_cast<std::ptrdiff_t>(kept), 0.0);
  double left = stream(s.seed, "sample", index).next_uniform() * sum;
  for (size_t i = 0; i < kept; ++i) {
    left -= probabilities[i];
    if (left < 0) return order[i];
  }
  return order[kept - 1];
}

std::vector<int32_t> generate(const Transformer& model, std::span<const int32_t> prompt, const Sampling& sampling, std::optional<int32_t> eos,
                              const std::function<void(int32_t)>& on_token) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> ids(prompt.begin(), prompt.end());
  if (ids.empty() && eos) ids.push_back(*eos);
  if (ids.empty()) throw Error(ErrorKind::kUsage, "the prompt is empty and the tokenizer has no end-of-text token to start from", "give a prompt");
  KvCache cache;
  Forward forward;
  forward.cache = &cache;
  std::vector<int32_t> generated;
  while (static_cast<int64_t>(generated.size()) < sampling.n_tokens) {
    const Tensor input = at::tensor(ids).unsqueeze(0);
    const Tensor hidden = model.hidden(input, forward);
    const int64_t next = sample(model.logits(hidden.select(1, hidden.size(1) - 1)).squeeze(0), sampling, generated.size());
    if (eos && next == *eos) break;
    generated.push_back(static_cast<int32_t>(next));
    if (on_token) on_token(generated.back());
    ids.assign(1, next);
  }
  return generated;
}

}  // namespace entrain::model
