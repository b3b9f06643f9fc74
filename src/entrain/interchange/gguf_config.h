#pragma once
// A model's shape as GGUF's metadata says it. Free of torch.

#include "entrain/interchange/gguf_reader.h"
#include "entrain/model/config.h"

namespace entrain::interchange {

inline constexpr const char* kNoWholeModel = " holds no whole model of its architecture:";
inline constexpr const char* kNoWholeModelHint = "take a file of one of the architectures llama, qwen3 and gpt2, without additions";

/// The shape, compared with the tensors that the file holds. Throws Error{kData} naming every setting that this program's models do not have
/// (rotary scaling, experts, sliding windows, ...), and tensors that are missing or of another shape.
model::Config gguf_config(const GgufReader& file);

}  // namespace entrain::interchange
