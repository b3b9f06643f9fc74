#include "entrain/model/export.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "entrain/base/error.h"
#include "entrain/model/huggingface.h"

namespace entrain::model {
namespace {

/// config.json of the model without its memory.
std::string plain_config(const fs::path& model, MemoryPolicy policy) {
  const fs::path path = model / "config.json";
  const std::string text = read_file(path);
  Config config = from_config_json(text, path.string());
  if (!config.is_own()) return text;
  if (policy == MemoryPolicy::kRefuse) {
    throw Error(ErrorKind::kUsage, "the model in " + model.string() + " has a memory or forward mixing, which no Hugging Face model has",
                "train a plain model on its predictions with `entrain distill " + model.string() + " RECIPE.toml --run DIR` and export that, or leave both out, which makes the model worse, with --drop-memory");
  }
  const auto eos = nlohmann::json::parse(text).value("eos_token_id", nlohmann::json());
  config.memory = {};
  config.mixing = {};
  return to_config_json(config, {eos.is_number_integer() ? eos.get<int64_t>() : -1});
}

}  // namespace

void export_huggingface(const fs::path& model, const fs::path& out, MemoryPolicy policy) {
  if (fs::exists(out)) throw Error(ErrorKind::kUsage, out.string() + " exists already", "name another folder, or remove that one");
  const std::string config = plain_config(model, policy);
  const fs::path target = fs::absolute(out).lexically_normal(), parent = (target.has_filename() ? target : target.parent_path()).parent_path();
  const fs::path name = (target.has_filename() ? target : target.parent_path()).filename();
  const fs::path aside = parent / (".writing-" + name.string() + "-" + std::to_string(::getpid()));
  make_folder(aside);
  try {
    write_file(aside / "config.json", config);
    write_file(aside / "tokenizer.json", read_file(model / "tokenizer.json"));
    fs::copy_file(model / "model.safetensors", aside / "model.safetensors");
    commit_folder(aside, parent / name);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    throw;
  }
}

}  // namespace entrain::model
