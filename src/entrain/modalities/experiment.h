#pragma once
// All runs of a recipe, each with its result in a file of its own: killed at any moment, the experiment goes on with the next run.

#include <functional>
#include <string>
#include <vector>

#include "entrain/modalities/training.h"

namespace entrain::modalities {

struct Result {
  Run run;
  Outcome outcome;
  int64_t items = 0, held_out = 0, batch = 0;
  std::string fingerprint;  ///< of the settings, the sentences and the tokenizer: results of one experiment agree in it
  std::string finished_at;  ///< UTC

  std::string to_json() const;
  /// Throws Error{kData} naming the file where the text is no result.
  static Result from_json(const std::string& text, const std::string& name);
};

/// Every run the recipe asks for, seed by seed, so that what is done of an experiment is balanced.
std::vector<Run> runs_of(const Config& config);

struct Observer {
  std::function<void(const std::string&)> on_modality;                              ///< before one is rendered or read
  std::function<void(const Run&, size_t index, size_t n_runs)> on_run;              ///< before a run is trained
  std::function<void(const Result&)> on_result;                                     ///< after it
};

/// Trains what has no result yet under out/results and returns the results of all runs, in the order of runs_of. Frames are kept in out/frames.
/// Throws Error{kUsage} where a result there came from other settings or another text, and what draw_items, make_modality and perform throw.
std::vector<Result> run_experiment(const Config& config, const fs::path& out, const Observer& observer);

}  // namespace entrain::modalities
