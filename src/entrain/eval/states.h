#pragma once
// The states a model forms at one hook point over a text, for probes and inspection.

#include <string>
#include <vector>

#include "entrain/model/transformer.h"
#include "entrain/text/tokenizer.h"

namespace entrain::eval {

struct States {
  Tensor values;                    ///< (N, C) float32, one row a token read
  std::vector<int32_t> ids;         ///< (N)
  std::vector<int64_t> windows;     ///< (N): tokens of one window stand together and saw each other
};

struct StatesOptions {
  int64_t context = 256;            ///< longest window
  int64_t max_tokens = 20'000;      ///< the text is read from its beginning until so many
};

/// Reads the documents of a file or folder. Throws Error{kUsage} for a point the model lacks, Error{kData} for a text without two tokens.
States collect_states(const model::Transformer& model, const text::Tokenizer& tokenizer, const fs::path& text, const std::string& point, const StatesOptions& options);

}  // namespace entrain::eval
