#include "entrain/model/speculative.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "entrain/base/error.h"

namespace entrain::model {
namespace {

using Shares = std::vector<double>;

/// A model and what it has read of the text.
class Reader {
 public:
  explicit Reader(const Transformer& model) : model_(model) {}

  /// Reads what of `ids` it has not read yet; logits after each of the last n positions, (n, V).
  Tensor read(std::span<const int64_t> ids, int64_t n) {
    Forward forward;
    forward.cache = &cache_;
    const std::span<const int64_t> fresh = ids.subspan(static_cast<size_t>(cache_.length));
    const Tensor hidden = model_.hidden(at::tensor(at::ArrayRef<int64_t>(fresh.data(), fresh.size())).unsqueeze(0), forward);
    return model_.logits(hidden.narrow(1, hidden.size(1) - n, n)).squeeze(0);
  }
  /// Forgets what it has read beyond the text, and the text's last token, which is the next to be read.
  void keep_to(std::span<const int64_t> ids) {
    truncate(cache_, std::min(cache_.length, static_cast<int64_t>(ids.size()) - 1), ids);
  }
  /// Tokens it can propose after a text of n, the last of which it does not read itself; only gpt2 has an end.
  int64_t n_proposable(int64_t n) const { return model_.config().is_gpt2() ? model_.config().context - n + 1 : std::numeric_limits<int64_t>::max(); }

 private:
  const Transformer& model_;
  KvCache cache_;
};

/// weights: not negative, with a positive sum.
int64_t draw(const Shares& weights, RandomStream random) {
  double left = random.next_uniform() * std::accumulate(weights.begin(), weights.end(), 0.0);
  int64_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    last = static_cast<int64_t>(i);
    left -= weights[i];
    if (left < 0) break;
  }
  return last;
}

/// What is left of p where a proposal from q was refused: max(0, p - q).
Shares residual(const Shares& p, const Shares& q) {
  Shares left(p.size());
  for (size_t i = 0; i < p.size(); ++i) left[i] = std::max(0.0, p[i] - q[i]);
  // A refusal means that p < q somewhere, so p > q elsewhere, but for rounding of equal distributions.
  return std::any_of(left.begin(), left.end(), [](double x) { return x > 0; }) ? left : p;
}

void check_pair(const Transformer& draft, const Transformer& target) {
  if (draft.config().vocab_size != target.config().vocab_size) {
    throw Error(ErrorKind::kData, "the draft has " + std::to_string(draft.config().vocab_size) + " tokens, the model " + std::to_string(target.config().vocab_size),
                "both must be trained with one tokenizer");
  }
  for (const Transformer* model : {&draft, &target}) {
    if (model->config().mixing.is_on()) {
      throw Error(ErrorKind::kUsage, std::string(model == &draft ? "the draft" : "the model") + " has forward mixing ([mixing]), whose running sums cannot be taken back when a proposal is refused",
                  "generate without a draft");
    }
  }
}

}  // namespace

SpeculativeResult speculate(const Transformer& draft, const Transformer& target, std::span<const int32_t> prompt, const Sampling& sampling, int64_t n_draft,
                            const std::vector<int32_t>& eos, const std::function<void(int32_t)>& on_token) {
  ENTRAIN_CHECK(n_draft >= 1, "n_draft " + std::to_string(n_draft));
  check_pair(draft, target);
  at::NoGradGuard no_grad;
  std::vector<int64_t> ids = starting_ids(prompt, eos);
  Reader proposer(draft), judge(target);
  SpeculativeResult result;
  const auto is_eos = [&](int64_t token) { return std::find(eos.begin(), eos.end(), token) != eos.end(); };
  const auto n_left = [&] { return sampling.n_tokens - static_cast<int64_t>(result.tokens.size()); };
  // The text grows by one token; false where it ends before it.
  const auto append = [&](int64_t token) {
    if (is_eos(token)) return false;
    ids.push_back(token);
    result.tokens.push_back(static_cast<int32_t>(token));
    if (on_token) on_token(result.tokens.back());
    return true;
  };
  while (n_left() > 0) {
    const auto pass = static_cast<uint64_t>(result.n_target_passes);
    // The pass itself yields one token more, so that no proposal lies beyond the end.
    const int64_t most = result.draft_failed ? 0 : std::min({n_draft, n_left() - 1, proposer.n_proposable(static_cast<int64_t>(ids.size()))});
    std::vector<int64_t> text = ids;  // with the proposals
    std::vector<Shares> proposed_from;
    for (int64_t i = 0; i < most && !(!proposed_from.empty() && is_eos(text.back())); ++i) {
      std::optional<Shares> q = distribution(proposer.read(text, 1).squeeze(0), sampling);
      if (!q) {
        result.draft_failed = true;
        break;
      }
      text.push_back(draw(*q, stream(sampling.seed, "speculative/propose", pass, static_cast<uint64_t>(i))));
      proposed_from.push_back(std::move(*q));
    }
    const auto n_proposed = static_cast<int64_t>(proposed_from.size());
    result.n_proposed += n_proposed;
    const size_t first = ids.size();
    const Tensor logits = judge.read(text, n_proposed + 1);
    ++result.n_target_passes;
    for (int64_t i = 0; i <= n_proposed; ++i) {
      const std::optional<Shares> p = distribution(logits.select(0, i), sampling);
      if (!p) throw Error(ErrorKind::kNumeric, "the model's logits are not finite after " + std::to_string(ids.size()) + " tokens", "its weights are damaged or its training has diverged: take an earlier checkpoint");
      const auto index = static_cast<uint64_t>(i);
      if (i == n_proposed) {  // all were accepted: the pass has one more token to give
        if (!append(draw(*p, stream(sampling.seed, "speculative/draw", pass, index)))) return result;
        break;
      }
      const Shares& q = proposed_from[index];
      const int64_t token = text[first + index];
      const auto t = static_cast<size_t>(token);
      const bool accepted = stream(sampling.seed, "speculative/accept", pass, index).next_uniform() * q[t] < (*p)[t];
      result.n_accepted += accepted;
      if (!append(accepted ? token : draw(residual(*p, q), stream(sampling.seed, "speculative/draw", pass, index)))) return result;
      if (!accepted) break;
    }
    proposer.keep_to(ids);
    judge.keep_to(ids);
  }
  return result;
}

void truncate(KvCache& cache, int64_t length, std::span<const int64_t> ids) {
  ENTRAIN_CHECK(0 <= length && length <= cache.length && length <= static_cast<int64_t>(ids.size()) && cache.mixing.empty(),
                "length " + std::to_string(length) + " of " + std::to_string(cache.length) + ", " + std::to_string(ids.size()) + " ids");
  if (length == cache.length) return;
  for (auto* tensors : {&cache.keys, &cache.values}) {
    for (Tensor& tensor : *tensors) tensor = tensor.narrow(1, 0, length);
  }
  if (cache.recent_ids.defined()) {
    const int64_t n = std::min(cache.recent_ids.size(1), length);
    cache.recent_ids = at::tensor(at::ArrayRef<int64_t>(ids.data() + (length - n), static_cast<size_t>(n))).unsqueeze(0);
  }
  cache.length = length;
}

}  // namespace entrain::model
