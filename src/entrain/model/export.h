#pragma once
// A model for other programs.

#include "entrain/base/files.h"

namespace entrain::model {

enum class MemoryPolicy {
  kRefuse,  ///< a model with a memory is not exported
  kDrop,    ///< its memory is left out
};

/// Copies config.json, model.safetensors and tokenizer.json of `model`, a folder that load_model reads, to the new folder `out`, as one that
/// Transformers opens; written aside and renamed. Throws Error{kUsage} where `out` exists or a memory stands in the way.
void export_huggingface(const fs::path& model, const fs::path& out, MemoryPolicy policy);

}  // namespace entrain::model
