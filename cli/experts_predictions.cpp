// entrain experts predictions DIR [--json]

#include <cstdio>
#include <memory>

#include "cli/experts.h"
#include "entrain/experts/predictions.h"
#include "entrain/experts/run.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string pool;
  bool json = false;
};

void run_predictions(const Options& options) {
  const experts::Predictions predictions = experts::decide(experts::read_results(options.pool));
  if (options.json) {
    std::printf("%s\n", predictions.to_json().dump(2).c_str());
  } else {
    std::printf("%s", predictions.to_markdown().c_str());
  }
}

}  // namespace

void add_experts_predictions(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = experts.add_subcommand("predictions", "the theory's four predictions, decided from the finished runs of a pool");
  verb->add_option("pool", options->pool, "folder of a pool, or of its results alone")->required();
  verb->add_flag("--json", options->json, "one JSON object on standard output");
  verb->callback([options] { run_predictions(*options); });
}

}  // namespace entrain::cli
