#pragma once
// Opens a model wherever it lies: a folder that load_model reads (a checkpoint, a Hugging Face folder) or a GGUF file.

#include "entrain/interchange/tokenizer_settings.h"
#include "entrain/model/huggingface.h"

namespace entrain::interchange {

struct Pretrained {
  model::Transformer model;
  text::Tokenizer tokenizer;
  TokenizerSettings settings;
};

/// Whether the path is a file that begins as GGUF files do.
bool is_gguf(const fs::path& path);

/// Each throws Error{kData} naming what this program cannot represent or what is damaged, and takes no more memory than the files' sizes
/// account for.
Pretrained open_pretrained(const fs::path& path);
/// Of what load_model gives, checked against the headers of the weights' files: adapters are merged into the weights.
model::Config read_config(const fs::path& path);
model::Transformer load_model(const fs::path& path);
/// `path` may also be a tokenizer.json.
text::Tokenizer load_tokenizer(const fs::path& path);
/// Of the model at `path`, whose tokenizer this is.
TokenizerSettings load_settings(const fs::path& path, const text::Tokenizer& tokenizer);
/// The ids that config.json names.
model::SpecialIds special_ids(const TokenizerSettings& settings);
/// Copies the weights, adapters merged into them, into a model of the same shape (dropout and, but for gpt2, the context may differ). Adapters of
/// its own stay.
void load_weights(model::Transformer& model, const fs::path& path);
/// What a folder's config.json says, adapters and all; nothing where `path` is no folder of a model with adapters.
std::optional<model::Config> read_adapted_config(const fs::path& path);
/// The files that hold the weights, those of a memory and of adapters among them.
std::vector<fs::path> weight_files(const fs::path& path);

}  // namespace entrain::interchange
