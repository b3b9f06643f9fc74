// entrain compare RECIPE.toml --out DIR [--seeds N]

#include "entrain/lab/compare.h"

#include <cstdio>
#include <memory>

#include "cli/lab.h"
#include "cli/verbs.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string recipe, out;
  std::vector<std::string> settings;
  int64_t seeds = 1;
  bool json = false;
};

void run_compare(const Options& options) {
  config::Document document = config::Document::load(options.recipe);
  for (const std::string& setting : options.settings) document.set(setting);
  const lab::Plan plan = lab::plan_of_recipe(std::move(document), options.seeds);
  const lab::RunSummary summary = run_lab(plan, options.out, {}, {.amend = true});
  const lab::Judgement judgement = report_lab(options.out, {"entrain compare " + options.recipe + " --out " + options.out + " --seeds " + std::to_string(options.seeds)});
  std::fprintf(stderr, "\n%s\nAlso in %s/report.md and report/index.html; losses of all text by block under %s/results.\n", judgement.to_markdown().c_str(), options.out.c_str(), options.out.c_str());
  if (options.json) std::printf("%s\n", judgement.to_json().c_str());
  if (summary.n_failed > 0) throw Exit{summary.first_failure};
}

}  // namespace

void add_compare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("compare", "train the arms of a recipe at matched compute and judge them");
  verb->add_option("recipe", options->recipe, "recipe with [arms.NAME] tables, the first is the baseline (docs/config.md)")->required();
  verb->add_option("--out", options->out, "folder of the comparison; called again, it goes on")->required();
  verb->add_option("--seeds", options->seeds, "paired seeds: each trains every arm once")->check(at_least(1))->capture_default_str();
  verb->add_option("--set", options->settings, "override a key of all arms: section.key=value")->take_all()->allow_extra_args(false);
  verb->add_flag("--json", options->json, "one JSON object on standard output");
  verb->callback([options] { run_compare(*options); });
}

}  // namespace entrain::cli
