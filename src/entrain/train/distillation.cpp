#include "entrain/train/distillation.h"

#include "entrain/base/error.h"
#include "entrain/model/huggingface.h"
#include "entrain/ops/distillation.h"
#include "entrain/train/checkpoint.h"

namespace entrain::train {
namespace {

fs::path folder_of(const Recipe& recipe) { return resolve_model_folder(recipe.distill.teacher); }

model::Config config_of(const fs::path& folder) { return model::from_config_json(read_file(folder / "config.json"), (folder / "config.json").string()); }

}  // namespace

Teacher::Teacher(const Recipe& recipe, const text::Tokenizer& tokenizer) : config_(recipe.distill), model_(model::load_model(folder_of(recipe))) {
  const model::Config& c = model_.config();
  if (text::Tokenizer::load(folder_of(recipe) / "tokenizer.json").fingerprint() != tokenizer.fingerprint() || c.vocab_size != recipe.model.vocab_size) {
    throw Error(ErrorKind::kData, "the teacher " + config_.teacher + " has another tokenizer than the data in " + recipe.data.path,
                "prepare the data with the teacher's: entrain data prepare --tokenizer " + (folder_of(recipe) / "tokenizer.json").string());
  }
  if (c.is_gpt2() && c.context < recipe.model.context) {
    throw Error(ErrorKind::kUsage, "the teacher " + config_.teacher + " reads at most " + std::to_string(c.context) + " positions, the recipe has rows of " + std::to_string(recipe.model.context),
                "lower model.context");
  }
}

Tensor Teacher::mix(const Tensor& loss, const Tensor& hidden, const Tensor& head, const Tensor& inputs, const Tensor& segments, const Tensor& targets, double normaliser) const {
  Tensor states;
  {
    const at::NoGradGuard no_grad;
    model::Forward forward;
    forward.segments = segments;
    states = model_.hidden(inputs, forward);
  }
  const Tensor valid = (targets != kIgnore).any(-1);
  return loss * (1.0 - config_.weight) + ops::head_distillation(hidden, head, states, model_.head(), valid, config_.temperature, normaliser) * config_.weight;
}

std::unique_ptr<Teacher> open_teacher(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  return recipe.distill.is_on() ? std::make_unique<Teacher>(recipe, tokenizer) : nullptr;
}

double distillation_flops_per_position(const Recipe& recipe, int64_t vocab_size) {
  if (!recipe.distill.is_on()) return 0;
  return model::training_flops_per_position(config_of(folder_of(recipe)), recipe.model.context) / 3.0 + 6.0 * static_cast<double>(vocab_size * recipe.model.width);
}

std::string teacher_checksum(const Recipe& recipe) {
  if (!recipe.distill.is_on()) return "";
  const fs::path folder = folder_of(recipe);
  std::string all;
  for (const char* file : {"config.json", "model.safetensors", "memory.safetensors"}) {
    if (fs::exists(folder / file)) all += to_hex(file_checksum(folder / file));
  }
  return to_hex(checksum(all));
}

}  // namespace entrain::train
