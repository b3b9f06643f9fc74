#pragma once
// One run of an experiment, from its order to its result. A result is a small text file that holds everything any later judgement
// needs - losses of every unit of held-out text among it - so it can be committed, moved to another machine and read back.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "entrain/eval/perplexity.h"
#include "entrain/lab/plan.h"
#include "entrain/train/trainer.h"

namespace entrain::lab {

/// What a run is for. Tuning runs see the validation split only.
enum class Stage { kTune, kMain, kLadder };
std::string to_string(Stage stage);

/// How a finished run is scored.
struct Scoring {
  std::string split = "val";                ///< "val" or "test": the token file's name
  int64_t block_tokens = 2048;
  std::vector<std::string> tasks = {};
  std::string tasks_data = {};
  int64_t task_limit = 0;
  std::string prompt = {};
  int64_t sample_tokens = 80;
};

struct Job {
  std::string name;                         ///< "plain/seed-1": its folder under runs/
  Stage stage = Stage::kMain;
  std::string arm;
  int64_t seed = 0;
  double share = 1.0;                       ///< of the full budget
  int64_t round = 0, trial = -1;            ///< of tuning
  Trial values = {};                        ///< those that tuning set
  train::Recipe recipe;
  Scoring scoring;

  /// Identity of the run's outcome: checksum of recipe, text, teacher and scoring; not of folders and threads.
  std::string key() const;
  std::string to_json() const;
  static Job from_json(const std::string& json, const std::string& name);
};

/// Consecutive held-out windows of one document, joined to at least block_tokens.
struct Block {
  uint64_t document = 0;
  int64_t tokens = 0, bytes = 0;
  double nats = 0;
};

/// One validation during training.
struct CurvePoint {
  int64_t step = 0;
  double raw_tokens = 0, flops = 0, seconds = 0, nats_per_token = 0;
};

/// A benchmark's outcome with the score of every item.
struct TaskOutcome {
  struct Item {
    std::string id, group;
    std::vector<double> values;             ///< one a column
  };
  std::string task;
  std::map<std::string, double> metrics;
  std::vector<std::string> columns;
  std::vector<Item> items;
};

struct Result {
  std::string key, arm;
  Stage stage = Stage::kMain;
  int64_t seed = 0;
  double share = 1.0;
  int64_t round = 0, trial = -1;
  Trial values = {};
  std::string recipe;                       ///< TOML
  std::string split, data;                  ///< which text was scored; checksum of all of the run's text
  train::RunState state;
  int64_t n_parameters = 0;
  double unique_tokens = 0;                 ///< distinct training tokens seen
  double final_multiplier = 0;              ///< of the learning rate
  std::string machine = {}, version = {}, finished_at = {};
  std::vector<Block> blocks = {};
  std::vector<CurvePoint> curve = {};
  std::vector<TaskOutcome> tasks = {};
  std::string sample = {};
  std::map<std::string, double> figures = {};   ///< of methods: the last reading of each during training
  std::vector<std::string> alarms = {};         ///< of methods, each once

  /// Mean of a metric of this run: "loss", "bits_per_byte" or "TASK.METRIC". Nothing where the run does not have it.
  std::optional<double> metric(const std::string& name) const;
  std::string to_json() const;
  static Result from_json(const std::string& json, const std::string& name);
};

/// Trains (or resumes) the run in `folder` and scores it. Nothing: it was asked to stop, and resumes when called again.
std::optional<Result> perform(const Job& job, const fs::path& folder, train::Observer& observer);

/// A few training steps in a temporary folder: what a run of this recipe costs here.
struct Cost {
  double seconds_per_step = 0, peak_bytes = 0;
};
Cost measure_cost(const train::Recipe& recipe);

}  // namespace entrain::lab
