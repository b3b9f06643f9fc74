#pragma once
// The plan of an experiment: what is compared, at which budget, on which seeds, judged by which rule - all of it fixed before
// the first run. docs/lab.md shows one.

#include <map>
#include <string>
#include <vector>

#include "entrain/base/config.h"
#include "entrain/train/recipe.h"

namespace entrain::lab {

/// [lab]
struct LabConfig {
  std::string question;
  std::string reference;                    ///< arm the others are judged against; empty: the first
  std::vector<double> seeds;
  std::string match = "flops";
  std::vector<double> ladder;               ///< further budgets, as shares of the whole
  std::vector<std::string> ladder_arms;     ///< empty: the reference alone
};

/// [metrics]
struct MetricsConfig {
  std::vector<std::string> primary{"loss"};
  std::vector<std::string> secondary{"bits_per_byte"};
  std::string tasks_data;
  double task_limit = 0;
  std::string unit = "auto";
  int64_t block_tokens = 2048;
  int64_t resamples = 10000;
  std::string prompt;
  int64_t sample_tokens = 80;
};

/// [decision]
struct DecisionConfig {
  std::string metric = "loss";
  std::string rule = "superior";
  double effect = 0;
  double alpha = 0.05;
  double power = 0.8;
  double seed_sd = 0;
};

/// [tune]. The grids are in Plan::grids.
struct TuneConfig {
  std::string method = "none";
  double share = 0.25;
  std::vector<double> seeds{1001};
  double keep = 0.5;
  int64_t rounds = 1;
};

struct Arm {
  std::string name;
  train::Recipe recipe;
};

/// Values a key takes in tuning, key by key.
using Grid = std::map<std::string, std::vector<config::Value>>;
/// One point of a grid.
using Trial = std::map<std::string, config::Value>;

struct Plan {
  LabConfig lab;
  MetricsConfig metrics;
  DecisionConfig decision;
  TuneConfig tune;
  config::Document proxy;                   ///< overrides of all tuning runs
  std::vector<Arm> arms;
  std::map<std::string, Grid> grids;        ///< by arm

  static void bind(config::Binder& binder, Plan& plan);
  /// Reads a plan, its base recipe (lab.recipe, relative to `folder`) and its arms; checks all that needs no data.
  /// Throws one Error{kUsage} that lists the problems.
  static Plan from(config::Document document, const fs::path& folder);
  static Plan load(const fs::path& path);

  /// The plan whole and in one form: the same text for the same plan however it was written. Parses to the same plan.
  std::string to_toml() const;
  /// 16 hexadecimal digits: XXH3-64 of to_toml().
  std::string hash() const;

  const Arm& arm(const std::string& name) const;
  const Arm& reference() const { return arm(lab.reference); }
  /// All points of an arm's grid, the last key varying fastest.
  std::vector<Trial> trials(const std::string& arm) const;
  std::vector<int64_t> seeds() const { return {lab.seeds.begin(), lab.seeds.end()}; }
  /// Every metric that was declared, the primary ones first.
  std::vector<std::string> declared() const;
};

/// What is better for a metric: -1 lower, +1 higher. Throws Error{kUsage} for a name that is no metric, naming the nearest.
int direction(const std::string& metric);

/// Whether the number chosen from a grid is its smallest or largest, in whatever order they are written: a better one may lie beyond.
bool at_edge(const std::vector<config::Value>& grid, const config::Value& chosen);

/// The arm's recipe with `values` set. Throws Error{kUsage} naming an unknown key.
train::Recipe with(const train::Recipe& recipe, const Trial& values);
/// The arm's recipe with the budget that holds `plan.lab.match` equal to the reference's, times `share`.
/// Throws Error{kUsage} where rounding to whole steps leaves a difference above 2 %.
train::Recipe matched(const Plan& plan, const train::Recipe& recipe, double share);
/// A run that ends at a tenth of its peak learning rate, or below, counts as decayed.
inline bool is_decayed(double multiplier) { return multiplier <= 0.1 + 1e-9; }
/// The learning rate's multiplier at the very end of a run.
double final_multiplier(const train::Recipe& recipe);
/// A recipe's keys that differ from their defaults, one a line: its identity, which keys added to a later version do not change.
std::string to_text(const train::Recipe& recipe);
/// "lr = 0.002, wd = 0.1" for people.
std::string to_text(const Trial& trial);

}  // namespace entrain::lab
