#pragma once
// The experts of a pool: models with one tokenizer that answer the same questions.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/model/transformer.h"
#include "entrain/reasoning/item.h"
#include "entrain/text/tokenizer.h"

namespace entrain::experts {

/// How a question is ended so that an answer follows (reasoning::transcript).
constexpr const char* kAnswerMarker = " =";
constexpr const char* kScratchpadMarker = " ⊢";

constexpr size_t kAnswers = reasoning::kAnswers.size();

/// A model and how it answers.
struct Expert {
  std::string name;
  model::Transformer model;
  reasoning::Style style = reasoning::Style::kDirect;
  double observe_at = -1;  ///< share of its blocks before an exchange of states; below 0: the pool's (observation.depth)
};

/// Ids of what answers are made of.
struct AnswerTokens {
  std::array<int64_t, kAnswers> answers = {};  ///< of " ●" and so on
  int64_t equals = 0, scratchpad = 0;
  int64_t eos = -1;
  /// Throws Error{kData} naming what is not a single token of the tokenizer.
  static AnswerTokens of(const text::Tokenizer& tokenizer);
};

/// One expert of a pool to open: its name, a run, checkpoint or Hugging Face folder, and its manner.
struct ExpertSource {
  std::string name;
  fs::path folder;
  reasoning::Style style = reasoning::Style::kDirect;
  double observe_at = -1;
};

/// Those that could be opened, and why others could not.
struct Pool {
  text::Tokenizer tokenizer;
  AnswerTokens tokens;
  std::vector<Expert> experts;
  std::vector<std::string> absent;  ///< a sentence for each expert that is left out
};

constexpr int64_t kMaxExperts = 100;

/// Opens experts. One that cannot be read is left out (Pool::absent); the first that can be decides the tokenizer.
/// Throws Error{kData} where experts have different tokenizers, naming both, and where none can be opened; Error{kUsage} for more than kMaxExperts.
Pool open_pool(std::span<const ExpertSource> sources);

/// FLOPs of reading or writing `n` tokens in a text of `n` tokens (a third of training them).
double forward_flops(const model::Transformer& model, int64_t n);

/// Texts of different lengths as one batch, padded on the left so that all end together.
struct Prompts {
  Tensor ids;       ///< (B, T) int64, 0 where there is padding
  Tensor valid;     ///< (B, T) bool
  Tensor segments;  ///< (B, T) int32: 0 padding, 1 text; undefined where nothing is padded
};

Prompts pad_left(std::span<const std::vector<int32_t>> texts);

}  // namespace entrain::experts
