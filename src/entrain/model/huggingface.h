#pragma once
// A model as a Hugging Face folder: config.json and model.safetensors under Transformers' names. One with a memory is no model that
// Transformers knows: its config.json has "model_type": "entrain", so it is refused there, and memory.safetensors holds the tables. So has
// one with adapters, which adapter_model.safetensors holds beside the frozen weights.

#include "entrain/base/files.h"
#include "entrain/model/transformer.h"

namespace entrain::model {

/// The token ids config.json names, where the tokenizer has them.
struct SpecialIds {
  int64_t eos = -1;  ///< -1: none
  int64_t bos = -1;  ///< -1: eos also serves as beginning-of-sequence
  int64_t pad = -1;
};

/// config.json for Transformers (LlamaForCausalLM, Qwen3ForCausalLM, GPT2LMHeadModel), or of the model type "entrain".
/// dtype: of the weights beside it, "float32", "float16" or "bfloat16".
std::string to_config_json(const Config& config, const SpecialIds& ids, const std::string& dtype = "float32");
/// The ids config.json names; of several the first.
SpecialIds special_ids(const std::string& config_json, const std::string& name);
/// Throws Error{kData} naming every setting this program cannot represent (scaled rotary embedding, attention biases, ...).
Config from_config_json(const std::string& json, const std::string& name);

/// The files that hold a folder's weights: model.safetensors, or those that model.safetensors.index.json lists.
/// Throws Error{kData} where the index does not parse or names a file outside the folder.
std::vector<fs::path> safetensors_files(const fs::path& folder);

/// What config.json says, adapters and all, of a folder whose files hold the weights of such a model by name and shape: told from their headers,
/// before any memory is taken for a model. Throws Error{kData} as load_model.
Config read_checked_config(const fs::path& folder);

/// Writes the two to four files into an existing folder.
void save_model(const Transformer& model, const SpecialIds& ids, const fs::path& folder);
/// Reads float32, float16 and bfloat16, in one file or several; adapters are merged into the weights. Throws Error{kData} that names missing, surplus and wrongly shaped tensors.
Transformer load_model(const fs::path& folder);
/// Copies tensors into the model's weights by name, with the checks of load_model; a memory's from memory.safetensors. The folder's adapters are
/// not read and the model's own stay (load_adapter, merge_adapter).
void load_weights(Transformer& model, const fs::path& folder);

}  // namespace entrain::model
