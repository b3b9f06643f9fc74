#pragma once
// A model's shape as config.json says it, for Transformers and for this program. Free of torch.

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/model/config.h"

namespace entrain::model {

/// The token ids config.json names, where the tokenizer has them.
struct SpecialIds {
  int64_t eos = -1;                    ///< -1: none
  int64_t bos = -1;                    ///< -1: eos also serves as beginning-of-sequence
  int64_t pad = -1;
  std::vector<int64_t> more_eos = {};  ///< others that end a text
};

/// config.json for Transformers (LlamaForCausalLM, Qwen3ForCausalLM, GPT2LMHeadModel), or of the model type "entrain".
/// dtype: of the weights beside it, "float32", "float16" or "bfloat16".
std::string to_config_json(const Config& config, const SpecialIds& ids, const std::string& dtype = "float32");
SpecialIds special_ids(const std::string& config_json, const std::string& name);
/// Throws Error{kData} naming every setting this program cannot represent (scaled rotary embedding, attention biases, ...).
Config from_config_json(const std::string& json, const std::string& name);

}  // namespace entrain::model
