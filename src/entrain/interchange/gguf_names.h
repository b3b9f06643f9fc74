#pragma once
// What GGUF calls the weights of llama.cpp's architectures llama, qwen3 and gpt2, and how it lays them out. Free of torch.

#include <string>

#include "entrain/model/config.h"

namespace entrain::interchange {

/// How a weight lies in the file, beside how Transformers lays it out.
enum class Layout {
  kSame,
  kTransposed,  ///< gpt2's matrices: (in, out) here, (out, in) there
  kRotary,      ///< llama's queries and keys: the two halves that a rotation mixes alternate there
};

struct Place {
  std::string name;
  Layout layout;
};

/// Where a weight under Transformers' name stands in the file.
Place place_of(const std::string& weight, const model::Config& config);

}  // namespace entrain::interchange
