#pragma once
// A model as a Hugging Face folder: config.json and model.safetensors under Transformers' names. One with a memory is no model that
// Transformers knows: its config.json has "model_type": "entrain", so it is refused there, and memory.safetensors holds the tables. So has
// one with adapters, which adapter_model.safetensors holds beside the frozen weights.

#include "entrain/base/files.h"
#include "entrain/model/checked_config.h"
#include "entrain/model/config_json.h"
#include "entrain/model/transformer.h"

namespace entrain::model {

/// Writes the two to four files into an existing folder.
void save_model(const Transformer& model, const SpecialIds& ids, const fs::path& folder);
/// Reads float32, float16 and bfloat16, in one file or several; adapters are merged into the weights. Throws Error{kData} that names missing, surplus and wrongly shaped tensors.
Transformer load_model(const fs::path& folder);
/// Copies tensors into the model's weights by name, with the checks of load_model; a memory's from memory.safetensors. The folder's adapters are
/// not read and the model's own stay (load_adapter, merge_adapter).
void load_weights(Transformer& model, const fs::path& folder);

}  // namespace entrain::model
