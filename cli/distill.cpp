// entrain distill TEACHER RECIPE.toml --run DIR [--teacher DIR]... [--weight W] [--temperature T] [--chain N] [--set section.key=value]... [--resume]

#include <memory>
#include <optional>

#include "cli/train.h"
#include "cli/verbs.h"
#include "entrain/base/error.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string teacher, recipe;
  fs::path run;
  std::vector<std::string> further_teachers;
  std::optional<double> weight, temperature;
  std::vector<std::string> settings;
  int64_t chain = 0;  ///< generations; 0: one student in the run folder itself
  bool resume = false;
};

train::Recipe recipe_of(config::Document document, const std::vector<std::string>& teachers) {
  document.erase("distill.teacher");
  document.erase("distill.teachers");
  if (teachers.size() == 1) {
    document.set("distill.teacher", config::Value(teachers.front()));
  } else {
    document.set("distill.teachers", config::Value(teachers));
  }
  return train::Recipe::from(document);
}

fs::path generation_folder(const fs::path& run, int64_t generation) { return run / ("generation-" + std::to_string(generation)); }

/// Generation g + 1 is taught by generation g, with the next seed (Born-again networks, arXiv 1805.04770, section 3).
void run_chain(const Options& options, const config::Document& document, std::vector<std::string> teachers) {
  const int64_t seed = recipe_of(document, teachers).train.seed;
  if (!options.resume) {
    for (int64_t g = 1; g <= options.chain; ++g) {
      if (!fs::exists(generation_folder(options.run, g))) continue;
      throw Error(ErrorKind::kUsage, generation_folder(options.run, g).string() + " exists already", "add --resume to go on with the chain, or name another folder");
    }
  }
  for (int64_t g = 1; g <= options.chain; ++g) {
    const fs::path folder = generation_folder(options.run, g);
    config::Document own = document;
    own.set("train.seed", config::Value(seed + g - 1));
    const bool begun = g == 1 || fs::exists(folder / "config.toml");
    train_recipe(recipe_of(own, teachers), folder, options.resume && begun ? train::Start::kResume : train::Start::kFresh,
                 "generation " + std::to_string(g) + " of " + std::to_string(options.chain) + ": ");
    teachers = {folder.string()};
  }
}

void run_distill(const Options& options) {
  config::Document document = config::Document::load(options.recipe);
  document.take_tables("arms");  // both are of `entrain compare`
  document.take_section("compare");
  for (const std::string& setting : options.settings) document.set(setting);
  if (options.weight) document.set("distill.weight", config::Value(*options.weight));
  if (options.temperature) document.set("distill.temperature", config::Value(*options.temperature));
  std::vector<std::string> teachers{options.teacher};
  teachers.insert(teachers.end(), options.further_teachers.begin(), options.further_teachers.end());
  if (options.chain > 0) {
    run_chain(options, document, teachers);
  } else {
    train_recipe(recipe_of(document, teachers), options.run, options.resume ? train::Start::kResume : train::Start::kFresh);
  }
}

}  // namespace

void add_distill(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("distill", "train a model on the text and on other models' predictions of it");
  verb->add_option("teacher", options->teacher, "run, checkpoint or Hugging Face folder of a model with the same tokenizer")->required();
  verb->add_option("recipe", options->recipe, "recipe of the model to train, TOML (docs/config.md)")->required();
  verb->add_option("--teacher", options->further_teachers, "a further teacher (may be given many times); the mean of their probabilities teaches")->take_all()->allow_extra_args(false);
  verb->add_option("--weight", options->weight, "share of the loss that is divergence from the teachers (distill.weight)");
  verb->add_option("--temperature", options->temperature, "divides all models' logits (distill.temperature)");
  verb->add_option("--chain", options->chain, "train this many students in turn, each taught by the one before, in RUN/generation-1 and so on")->check(at_least(1));
  verb->add_option("--set", options->settings, "override a key: section.key=value (may be given many times)")->take_all()->allow_extra_args(false);
  verb->add_option("--run", options->run, "folder of the run")->required();
  verb->add_flag("--resume", options->resume, "go on from the newest checkpoint");
  verb->callback([options] { run_distill(*options); });
}

}  // namespace entrain::cli
