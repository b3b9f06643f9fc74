#pragma once
// A model's weights as GGUF names and lays them out, and its shape for writing, by llama.cpp's architectures llama, qwen3 and gpt2.

#include "entrain/interchange/gguf_config.h"
#include "entrain/interchange/gguf_reader.h"
#include "entrain/interchange/gguf_writer.h"
#include "entrain/model/transformer.h"

namespace entrain::interchange {

/// Copies the file's tensors into the model's weights. Throws Error{kData} that names missing, surplus and wrongly shaped tensors.
void load_gguf_weights(model::Transformer& model, const GgufReader& file);

/// Shape and weights. Matrices take the type where their rows are whole blocks of it, float16 otherwise; vectors, and gpt2's table of
/// positions, stay float32, as llama.cpp wants them. A memory and forward mixing are left out. The model must outlive the writer.
/// Throws Error{kUsage} where llama.cpp has no such model (another activation than the family's own).
void add_model(GgufWriter& writer, const model::Transformer& model, GgmlType type);

}  // namespace entrain::interchange
