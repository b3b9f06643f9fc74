#pragma once
// Text from a model, one token at a time.

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "entrain/model/transformer.h"

namespace entrain::model {

/// Filters apply in the order temperature, top-k, top-p, min-p (as in Transformers); their neutral values are the defaults.
struct Sampling {
  int64_t n_tokens = 64;
  double temperature = 1.0;  ///< 0: always the likeliest token
  int64_t top_k = 0;         ///< keep the k likeliest; 0: all
  double top_p = 1.0;        ///< keep the smallest set whose probability reaches p
  double min_p = 0.0;        ///< keep those at least min_p times as likely as the likeliest
  uint64_t seed = 0;
};

/// The index drawn from one row of logits (V) at draw number `index`. The same arguments give the same token.
int64_t sample(const Tensor& logits, const Sampling& sampling, uint64_t index);

/// The probability of every token after the filters: what sample() draws from. logits: one row (V); V numbers that sum to 1, a single 1 at
/// temperature 0. Nothing where a logit is not finite.
std::optional<std::vector<double>> distribution(const Tensor& logits, const Sampling& sampling);

/// The ids a continuation of the prompt starts from: the prompt's, or the first of `eos` where it is empty. Throws Error{kUsage} for an empty prompt without eos.
std::vector<int64_t> starting_ids(std::span<const int32_t> prompt, const std::vector<int32_t>& eos);

/// Continuation of the prompt, without it; ends before any of `eos`. An empty prompt starts from the first of them.
/// on_token, where given, sees each token as it comes. Throws Error{kUsage} for an empty prompt without eos.
std::vector<int32_t> generate(const Transformer& model, std::span<const int32_t> prompt, const Sampling& sampling, const std::vector<int32_t>& eos,
                              const std::function<void(int32_t)>& on_token = {});

}  // namespace entrain::model
