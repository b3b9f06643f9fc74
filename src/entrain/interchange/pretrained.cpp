#include "entrain/interchange/pretrained.h"

#include <fstream>

#include "entrain/base/error.h"
#include "entrain/interchange/gguf_model.h"
#include "entrain/interchange/gguf_tokenizer.h"
#include "entrain/model/adapter.h"

namespace entrain::interchange {
namespace {

/// A mapped GGUF file and its header.
struct GgufFile {
  explicit GgufFile(const fs::path& path) : map(path), reader(map.bytes(), path.string()) {}
  MappedFile map;
  GgufReader reader;
};

model::Config config_of_folder(const fs::path& folder) { return model::from_config_json(read_file(folder / "config.json"), (folder / "config.json").string()); }

model::Transformer load_gguf(const GgufReader& file) {
  model::Transformer model(gguf_config(file), 0);
  load_gguf_weights(model, file);
  return model;
}

}  // namespace

bool is_gguf(const fs::path& path) {
  if (!fs::is_regular_file(path)) return false;
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

Pretrained open_pretrained(const fs::path& path) {
  if (is_gguf(path)) {
    const GgufFile file(path);
    text::Tokenizer tokenizer = gguf_tokenizer(file.reader);
    TokenizerSettings settings = gguf_settings(file.reader, tokenizer);
    return {load_gguf(file.reader), std::move(tokenizer), std::move(settings)};
  }
  text::Tokenizer tokenizer = load_tokenizer(path);
  TokenizerSettings settings = read_settings(path, tokenizer);
  return {model::load_model(path), std::move(tokenizer), std::move(settings)};
}

model::Config read_config(const fs::path& path) {
  if (is_gguf(path)) return gguf_config(GgufFile(path).reader);
  model::Config config = model::read_checked_config(path);
  config.lora = {};
  return config;
}

std::optional<model::Config> read_adapted_config(const fs::path& path) {
  if (!fs::is_directory(path)) return std::nullopt;
  const model::Config config = config_of_folder(path);
  return config.lora.is_on() ? std::optional(config) : std::nullopt;
}

model::Transformer load_model(const fs::path& path) { return is_gguf(path) ? load_gguf(GgufFile(path).reader) : model::load_model(path); }

text::Tokenizer load_tokenizer(const fs::path& path) {
  if (is_gguf(path)) return gguf_tokenizer(GgufFile(path).reader);
  return text::Tokenizer::load(fs::is_directory(path) ? path / "tokenizer.json" : path);
}

TokenizerSettings load_settings(const fs::path& path, const text::Tokenizer& tokenizer) {
  return is_gguf(path) ? gguf_settings(GgufFile(path).reader, tokenizer) : read_settings(path, tokenizer);
}

model::SpecialIds special_ids(const TokenizerSettings& settings) { return {.eos = settings.eos, .bos = settings.bos, .pad = settings.pad, .more_eos = settings.more_eos}; }

void load_weights(model::Transformer& model, const fs::path& path) {
  if (is_gguf(path)) {
    load_gguf_weights(model, GgufFile(path).reader);
  } else {
    model::load_weights(model, path);
    model::merge_adapter(model, config_of_folder(path), path);
  }
}

std::vector<fs::path> weight_files(const fs::path& path) {
  if (is_gguf(path)) return {path};
  std::vector<fs::path> files = model::safetensors_files(path);
  for (const char* name : {model::kMemoryFile, model::kAdapterFile}) {
    if (fs::exists(path / name)) files.push_back(path / name);
  }
  return files;
}

}  // namespace entrain::interchange
