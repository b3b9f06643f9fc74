// entrain distill TEACHER RECIPE.toml --run DIR [--weight W] [--temperature T] [--set section.key=value]... [--resume]

#include <memory>
#include <optional>

#include "cli/train.h"
#include "cli/verbs.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string teacher, recipe, run;
  std::optional<double> weight, temperature;
  std::vector<std::string> settings;
  bool resume = false;
};

void run_distill(const Options& options) {
  config::Document document = config::Document::load(options.recipe);
  document.take_tables("arms");  // both are of `entrain compare`
  document.take_section("compare");
  for (const std::string& setting : options.settings) document.set(setting);
  document.set("distill.teacher", config::Value(options.teacher));
  if (options.weight) document.set("distill.weight", config::Value(*options.weight));
  if (options.temperature) document.set("distill.temperature", config::Value(*options.temperature));
  train_recipe(train::Recipe::from(document), options.run, options.resume ? train::Start::kResume : train::Start::kFresh);
}

}  // namespace

void add_distill(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("distill", "train a model on the text and on another model's predictions of it");
  verb->add_option("teacher", options->teacher, "run, checkpoint or Hugging Face folder of a model with the same tokenizer")->required();
  verb->add_option("recipe", options->recipe, "recipe of the model to train, TOML (docs/config.md)")->required();
  verb->add_option("--weight", options->weight, "share of the loss that is divergence from the teacher (distill.weight)");
  verb->add_option("--temperature", options->temperature, "divides both models' logits (distill.temperature)");
  verb->add_option("--set", options->settings, "override a key: section.key=value (may be given many times)")->take_all()->allow_extra_args(false);
  verb->add_option("--run", options->run, "folder of the run")->required();
  verb->add_flag("--resume", options->resume, "go on from the newest checkpoint");
  verb->callback([options] { run_distill(*options); });
}

}  // namespace entrain::cli
