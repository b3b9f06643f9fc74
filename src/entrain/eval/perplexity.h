#pragma once
// Held-out loss of a model on text: nats per token and bits per byte, with what a paired test needs.

#include <vector>

#include "entrain/model/transformer.h"
#include "entrain/text/token_file.h"
#include "entrain/text/tokenizer.h"

namespace entrain::eval {

/// One window: consecutive tokens of one document, each but the first predicted from those before it in the window, or those of them that count.
struct WindowScore {
  uint64_t document = 0;
  int64_t tokens = 0;  ///< predicted
  int64_t bytes = 0;   ///< of text they stand for
  double nats = 0;     ///< summed
};

struct TextScore {
  std::vector<WindowScore> windows;  ///< in the order of the text
  double nats = 0;
  int64_t tokens = 0, bytes = 0;

  double nats_per_token() const { return nats / static_cast<double>(tokens); }
  double bits_per_byte() const;
};

struct ScoreOptions {
  int64_t context = 256;    ///< T, longest window
  int64_t rows = 16;        ///< windows worked on at once
  int64_t max_tokens = 0;   ///< about this many predicted tokens, spread evenly over the text; 0: all
  std::vector<int64_t> loss_after = {};  ///< only tokens after the first of these ids in their document are predicted; empty: all
};

/// Scores a token file. token_bytes: Tokenizer::token_byte_lengths().
/// Throws Error{kData} where there is nothing to predict.
TextScore score(const model::Transformer& model, const text::TokenFile& file, std::span<const int32_t> token_bytes, const ScoreOptions& options);

/// Scores the documents of a file or folder, encoded on the way to a temporary token file (so they may exceed memory).
TextScore score_text(const model::Transformer& model, const text::Tokenizer& tokenizer, const fs::path& path, const ScoreOptions& options);

}  // namespace entrain::eval
