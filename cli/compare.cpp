// entrain compare RECIPE.toml --out DIR [--seeds N]

#include <cstdio>
#include <memory>

#include "cli/progress.h"
#include "cli/verbs.h"
#include "entrain/lab/compare.h"

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
  const lab::Comparison comparison = lab::Comparison::from(std::move(document), options.seeds);
  const auto report = lab::compare(comparison, options.out, [](const std::string& label) { return std::make_unique<Progress>(label); });
  if (!report) {
    std::fprintf(stderr, "\nstopped; the same command goes on from here\n");
    throw Exit{130};
  }
  std::fprintf(stderr, "\n%s\nAlso in %s/report.md; losses of every window in each run's result.json.\n", report->to_markdown().c_str(), options.out.c_str());
  if (options.json) std::printf("%s\n", report->to_json().c_str());
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
