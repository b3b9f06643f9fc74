#include "entrain/model/huggingface.h"

#include <ATen/ATen.h>

#include <map>

#include "entrain/model/adapter.h"
#include "entrain/model/memory.h"
#include "entrain/model/safetensors.h"

namespace entrain::model {
namespace {

std::map<std::string, Tensor> by_name(const NamedTensors& tensors) { return {tensors.begin(), tensors.end()}; }

/// The weights of model.safetensors, and what memory.safetensors holds beside it; adapters have a file of their own (adapter.h).
struct Files {
  NamedTensors plain, memory;
};
Files files_of(const Transformer& model) {
  Files files;
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.role != Role::kAdapter) (is_memory_name(weight.name) ? files.memory : files.plain).emplace_back(weight.name, weight.value);
  }
  for (const RowTable& table : model.parameters().tables()) files.memory.emplace_back(table.name, table.value.detach());
  return files;
}

}  // namespace

void save_model(const Transformer& model, const SpecialIds& ids, const fs::path& folder) {
  const Files files = files_of(model);
  write_file(folder / "config.json", to_config_json(model.config(), ids));
  write_safetensors(folder / "model.safetensors", files.plain);
  if (!files.memory.empty()) write_safetensors(folder / kMemoryFile, files.memory);
  save_adapter(model, folder);
}

void load_weights(Transformer& model, const fs::path& folder) {
  at::NoGradGuard no_grad;
  const Files files = files_of(model);
  const auto targets = by_name(files.plain);
  const auto target_of = [&](const std::string& name) { return targets.contains(name) ? name : std::string(kHubPrefix) + name; };
  const auto is_known = [&](const std::string& name) {
    const bool buffer = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") || name.ends_with("rotary_emb.inv_freq");
    return buffer || (model.config().tied_head && name == "lm_head.weight");
  };
  copy_safetensors(safetensors_files(folder), targets, target_of, is_known);
  if (files.memory.empty()) return;
  copy_safetensors({folder / kMemoryFile}, by_name(files.memory), [](const std::string& name) { return name; }, [](const std::string&) { return false; });
}

Transformer load_model(const fs::path& folder) {
  const Config adapted = read_checked_config(folder);
  Config config = adapted;
  config.lora = {};
  Transformer model(config, 0);
  load_weights(model, folder);
  merge_adapter(model, adapted, folder);
  return model;
}

}  // namespace entrain::model
