// entrain modalities RECIPE.toml --out DIR

#include <cstdio>
#include <memory>

#include "cli/modalities_figure.h"
#include "cli/verbs.h"
#include "entrain/base/error.h"
#include "entrain/modalities/experiment.h"
#include "entrain/modalities/summary.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string recipe, out;
  std::vector<std::string> settings;
  bool json = false;
};

modalities::Observer progress() {
  return {.on_modality = [](const std::string& name) { std::fprintf(stderr, "making %s of the sentences\n", name.c_str()); },
          .on_run = [](const modalities::Run& run, size_t index, size_t n_runs) { std::fprintf(stderr, "run %zu of %zu: %s\n", index + 1, n_runs, run.name().c_str()); },
          .on_result =
              [](const modalities::Result& result) {
                for (const modalities::PairScore& s : result.outcome.scores) {
                  std::fprintf(stderr, "  %s and %s: recall %.3f at 1, %.3f at 10, gap %.3f; %.0f s\n", s.a.c_str(), s.b.c_str(), s.recall(0), s.recall(2), s.gap, result.outcome.seconds);
                }
              }};
}

void run_modalities(const Options& options) {
  config::Document document = config::Document::load(options.recipe);
  for (const std::string& setting : options.settings) document.set(setting);
  const modalities::Config config = modalities::Config::from(document);
  const fs::path out = options.out;
  const modalities::Summary summary = modalities::summarise(modalities::run_experiment(config, out, progress()));
  const std::string tables = summary.to_markdown();
  write_file(out / "report.md", "# Modalities within first, then across\n\n```sh\nentrain modalities " + options.recipe + " --out " + options.out + "\n```\n\n" + tables +
                                    "\n![recall at 10 against the share of known pairs](recall.svg)\n\n## The recipe\n\n```toml\n" + config.to_toml() + "```\n");
  std::fprintf(stderr, "\n%s\nAlso in %s/report.md, with a figure; results of single runs under %s/results.\n", tables.c_str(), options.out.c_str(), options.out.c_str());
  write_file(out / "recall.svg", draw_modalities(summary));
  if (options.json) std::printf("%s\n", summary.to_json().c_str());
}

}  // namespace

void add_modalities(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("modalities", "align encoders of bytes, tokens, glyphs and speech, within each first or at once");
  verb->add_option("recipe", options->recipe, "recipe with a table [modalities] (docs/methods/modalities.md)")->required();
  verb->add_option("--out", options->out, "folder of the experiment; called again, it goes on")->required();
  verb->add_option("--set", options->settings, "override a key: modalities.key=value")->take_all()->allow_extra_args(false);
  verb->add_flag("--json", options->json, "one JSON object on standard output");
  verb->callback([options] { run_modalities(*options); });
}

}  // namespace entrain::cli
