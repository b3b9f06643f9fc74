#pragma once
// What tasks ask of a model: log-likelihoods of continuations, greedy text, pooled states. Encoding, truncation and the
// empty context follow lm-evaluation-harness (v0.4.13, models/huggingface.py) without added special tokens.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "entrain/model/transformer.h"
#include "entrain/text/tokenizer.h"

namespace entrain::eval {

/// A text to score after another.
struct Request {
  std::string context, continuation;
};

struct Likelihood {
  double log_likelihood = 0;  ///< nats, summed over the continuation's tokens
  bool greedy = true;         ///< each of its tokens is the likeliest one (the lowest id on ties)
  int64_t n_tokens = 0;       ///< scored
  bool truncated = false;     ///< the model's context held only the end of it
};

struct EncodedRequest {
  std::vector<int32_t> context, continuation;
};

/// White space at the end of the context goes to the continuation, both are encoded as one text, and the continuation is what
/// follows the tokens the context has alone (at least one token). An empty context is the end-of-text token; where the
/// continuation begins with that token, it is the context instead.
/// Throws Error{kData} for an empty context under a tokenizer without end-of-text token.
EncodedRequest encode_request(const text::Tokenizer& tokenizer, const Request& request);

/// What the model reads to score a request: `targets` are predicted at the last positions of `input`.
struct ScoredRow {
  std::vector<int64_t> input, targets;
  bool truncated = false;
};

/// Context and continuation cut on the left to `context_length` + 1 tokens; the last token is only predicted.
ScoredRow make_row(const EncodedRequest& request, int64_t context_length);

struct RequestOptions {
  int64_t batch_tokens = 4096;               ///< tokens read at once, with padding; at least one row
  std::function<void(int64_t)> on_progress;  ///< called with the number of requests just finished
};

/// Rows are sorted by length and padded on the right; requests that differ in their last token alone share a row.
/// Equal, up to float32 rounding, to one forward pass a request. Throws Error{kData} where tokenizer and model do not belong together.
std::vector<Likelihood> log_likelihoods(const model::Transformer& model, const text::Tokenizer& tokenizer, std::span<const Request> requests,
                                        const RequestOptions& options = {});

struct Generation {
  std::string text;        ///< up to the first stop; special tokens left out
  bool truncated = false;  ///< the prompt was cut on the left
};

/// Likeliest token after likeliest token until one of `stops` appears, the end-of-text token, or max_tokens. The prompt is cut on the
/// left to leave room for max_tokens; a model whose context is no longer than max_tokens gets half of it for the prompt.
Generation generate_until(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& prompt,
                          const std::vector<std::string>& stops, int64_t max_tokens);

/// Mean over the tokens of each sentence of the states after the last norm: sentences x C, row-major. No sentence is empty.
std::vector<float> mean_states(const model::Transformer& model, const text::Tokenizer& tokenizer, std::span<const std::string> sentences);

/// Throws Error{kData} where the tokenizer has ids the model lacks.
void check_vocabulary(const model::Transformer& model, const text::Tokenizer& tokenizer);

}  // namespace entrain::eval
