#include "entrain/interchange/export.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <functional>

#include "entrain/base/error.h"
#include "entrain/interchange/gguf_model.h"
#include "entrain/interchange/gguf_tokenizer.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/adapter.h"
#include "entrain/model/huggingface.h"
#include "entrain/model/memory.h"
#include "entrain/model/safetensors.h"

namespace entrain::interchange {
namespace {

void check_target(const fs::path& out) {
  if (fs::exists(out)) throw Error(ErrorKind::kUsage, out.string() + " exists already", "name another path, or remove that one");
}

Pretrained open_plain(const fs::path& path, MemoryPolicy policy) {
  if (policy == MemoryPolicy::kRefuse && read_config(path).is_own()) {
    throw Error(ErrorKind::kUsage, "the model in " + path.string() + " has a memory or forward mixing, which no other program has",
                "train a plain model on its predictions with `entrain distill " + path.string() + " RECIPE.toml --run DIR` and export that, or leave both out, which makes the model worse, with --drop-memory");
  }
  return open_pretrained(path);
}

struct FloatType {
  at::ScalarType scalar;
  const char* name;  ///< in config.json
};

FloatType float_type(GgmlType type) {
  switch (type) {
    case GgmlType::kF32: return {at::kFloat, "float32"};
    case GgmlType::kF16: return {at::kHalf, "float16"};
    case GgmlType::kBF16: return {at::kBFloat16, "bfloat16"};
    default: throw Error(ErrorKind::kUsage, "a Hugging Face folder cannot hold the type " + type_name(type), "choose f32, f16 or bf16, or --format gguf");
  }
}

Tensor converted(const model::Weight& weight, at::ScalarType type) {
  const Tensor value = weight.value.detach();
  const Tensor out = value.to(type);
  if (type == at::kHalf && !at::equal(at::isfinite(out), at::isfinite(value))) {
    throw Error(ErrorKind::kNumeric, "a number of " + weight.name + " is larger than float16 can hold", "write bf16 or f32");
  }
  return out;
}

void write_folder(const Pretrained& pretrained, const FloatType& type, const fs::path& folder) {
  model::Config config = pretrained.model.config();
  config.memory = {};
  config.mixing = {};
  model::NamedTensors tensors;
  for (const model::Weight& weight : pretrained.model.parameters().weights()) {
    if (!model::is_memory_name(weight.name)) tensors.emplace_back(weight.name, converted(weight, type.scalar));
  }
  write_file(folder / "config.json", model::to_config_json(config, special_ids(pretrained.settings), type.name));
  model::write_safetensors(folder / "model.safetensors", tensors);
  pretrained.tokenizer.save(folder / "tokenizer.json");
  write_settings(folder, settings_files(pretrained.settings, pretrained.tokenizer, config.context));
}

/// The new folder `out` with what `write` puts into it; written aside and renamed.
void write_aside(const fs::path& out, const std::function<void(const fs::path&)>& write) {
  const fs::path target = fs::absolute(out).lexically_normal(), parent = (target.has_filename() ? target : target.parent_path()).parent_path();
  const fs::path name = (target.has_filename() ? target : target.parent_path()).filename();
  const fs::path aside = parent / (".writing-" + name.string() + "-" + std::to_string(::getpid()));
  make_folder(aside);
  try {
    write(aside);
    commit_folder(aside, parent / name);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    throw;
  }
}

}  // namespace

GgmlType export_type(const std::string& name) {
  for (const GgmlType type : {GgmlType::kF32, GgmlType::kF16, GgmlType::kBF16, GgmlType::kQ8_0}) {
    if (name == type_name(type)) return type;
  }
  throw Error(ErrorKind::kUsage, "weights cannot be written in the type " + name, "choose f32, f16, bf16 or q8_0");
}

void export_huggingface(const fs::path& path, const fs::path& out, const ExportOptions& options) {
  check_target(out);
  const FloatType type = float_type(options.type);
  const Pretrained pretrained = open_plain(path, options.memory);
  write_aside(out, [&](const fs::path& folder) { write_folder(pretrained, type, folder); });
}

void export_peft(const fs::path& path, const fs::path& out, const std::string& base) {
  check_target(out);
  const auto config = read_adapted_config(path);
  if (!config) throw Error(ErrorKind::kUsage, "the model in " + path.string() + " has no adapters", "train them with [lora] (docs/fine-tuning.md), or choose --format hf or gguf");
  if (config->memory.is_on() || config->mixing.is_on()) {
    throw Error(ErrorKind::kUsage, "the adapters in " + path.string() + " stand in a model with a memory or forward mixing, which no other program has", "export it whole: --format hf --drop-memory");
  }
  const std::string& named = base.empty() ? config->lora.base : base;
  std::error_code ignored;
  if (fs::path(named).extension() == ".gguf" || (fs::exists(named, ignored) && !fs::exists(fs::path(named) / "config.json", ignored))) {
    throw Error(ErrorKind::kUsage, "the adapters in " + path.string() + " stand on " + named + ", and peft loads its base from a Hugging Face folder",
                "export that model to one and name it: --base FOLDER");
  }
  const model::Transformer checked = model::load_model(path);  // its files fit each other
  write_aside(out, [&](const fs::path& folder) {
    write_file(folder / "adapter_config.json", model::to_adapter_config_json(*config, named));
    write_file(folder / model::kAdapterFile, read_file(path / model::kAdapterFile));
  });
}

void export_gguf(const fs::path& path, const fs::path& out, const ExportOptions& options) {
  check_target(out);
  const Pretrained pretrained = open_plain(path, options.memory);
  GgufWriter writer;
  add_model(writer, pretrained.model, options.type);
  add_tokenizer(writer, pretrained.tokenizer, pretrained.settings, pretrained.model.config().vocab_size);
  writer.write(out);
}

}  // namespace entrain::interchange
