// entrain experts train POOL.toml --out DIR [--runs A-B] [--set section.key=value]...

#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/experts.h"
#include "cli/progress.h"
#include "entrain/base/error.h"
#include "entrain/experts/run.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string recipe, out, runs;
  std::vector<std::string> settings;
};

/// "3" or "3-7"; empty: all.
std::pair<int64_t, int64_t> parse_runs(const std::string& text, int64_t n_runs) {
  if (text.empty()) return {1, n_runs};
  char* end = nullptr;
  const int64_t first = std::strtoll(text.c_str(), &end, 10), last = *end == '-' ? std::strtoll(end + 1, &end, 10) : first;
  if (*end != 0 || first < 1 || last < first || last > n_runs) {
    throw Error(ErrorKind::kUsage, "--runs " + text + " is no run or range of runs from 1 to " + std::to_string(n_runs), "pool.runs in the recipe says how many there are");
  }
  return {first, last};
}

void run_train(const Options& options) {
  config::Document document = config::Document::load(options.recipe);
  for (const std::string& setting : options.settings) document.set(setting);
  const experts::PoolRecipe recipe = experts::PoolRecipe::from(std::move(document));
  const auto [first, last] = parse_runs(options.runs, recipe.pool.runs);
  Progress progress;
  experts::RunObserver observer;
  observer.say = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
  observer.training = &progress;
  observer.stop_requested = [&progress] { return progress.stop_requested(); };
  for (int64_t run = first; run <= last; ++run) {
    if (!experts::train_run(recipe, options.out, run, observer)) {
      std::fprintf(stderr, "\nstopped; everything is saved in %s; the same command goes on\n", options.out.c_str());
      throw Exit{130};
    }
  }
  std::fprintf(stderr, "done: entrain experts eval %s, entrain experts predictions %s\n", options.out.c_str(), options.out.c_str());
}

}  // namespace

void add_experts_train(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = experts.add_subcommand("train", "train a pool's experts, heads, coordinator and observation, and judge them; called again, it goes on");
  verb->add_option("recipe", options->recipe, "POOL.toml (docs/methods/experts.md)")->required();
  verb->add_option("--out", options->out, "folder of the pool")->required();
  verb->add_option("--runs", options->runs, "only this run or range of runs, such as 3 or 1-10; several programs may share the work so");
  verb->add_option("--set", options->settings, "override a key: section.key=value (may be given many times)")->take_all()->allow_extra_args(false);
  verb->callback([options] { run_train(*options); });
}

}  // namespace entrain::cli
