#pragma once
// A model as a Hugging Face folder: config.json and model.safetensors under Transformers' names. One with a memory is no model that
// Transformers knows: its config.json has "model_type": "entrain", so it is refused there, and memory.safetensors holds the tables.

#include "entrain/base/files.h"
#include "entrain/model/transformer.h"

namespace entrain::model {

/// The token ids config.json names, where the tokenizer has them.
struct SpecialIds {
  int64_t eos = -1;  ///< also serves as beginning-of-sequence; -1: none
};

/// config.json for Transformers (LlamaForCausalLM, Qwen3ForCausalLM, GPT2LMHeadModel), or of the model type "entrain".
std::string to_config_json(const Config& config, const SpecialIds& ids);
/// Throws Error{kData} naming every setting this program cannot represent (scaled rotary embedding, attention biases, ...).
Config from_config_json(const std::string& json, const std::string& name);

/// Writes the two or three files into an existing folder.
void save_model(const Transformer& model, const SpecialIds& ids, const fs::path& folder);
/// Throws Error{kData} that names missing, surplus and wrongly shaped tensors.
Transformer load_model(const fs::path& folder);
/// Copies tensors into the model's weights by name, with the checks of load_model; a memory's from memory.safetensors beside the file.
void load_weights(Transformer& model, const fs::path& safetensors);

}  // namespace entrain::model
