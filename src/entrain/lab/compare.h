#pragma once
// Recipes side by side at matched compute: each arm overrides keys of one recipe, all read the same data in the same order
// from the same seeds, and every run has its own full learning-rate decay.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "entrain/eval/perplexity.h"
#include "entrain/lab/bootstrap.h"
#include "entrain/train/trainer.h"

namespace entrain::lab {

struct CompareConfig {
  std::vector<double> ladder;
  int64_t resamples = 10000;
  int64_t block_tokens = 2048;
  std::string prompt;
  int64_t sample_tokens = 80;

  void bind(config::Binder& binder);
};

struct Arm {
  std::string name;
  train::Recipe recipe;
};

/// What `entrain compare` was asked for.
struct Comparison {
  CompareConfig config;
  std::vector<Arm> arms;  ///< the first is the baseline
  int64_t n_seeds = 1;

  /// Reads a recipe with [arms.NAME] tables and an optional [compare]. Throws one Error{kUsage} naming arm and problem.
  static Comparison from(config::Document document, int64_t n_seeds);
};

/// One finished run.
struct RunOutcome {
  std::string arm;
  int64_t seed = 0;
  double budget_share = 1.0;  ///< below 1: a rung of the baseline's ladder
  train::RunState state;
  int64_t n_parameters = 0;
  eval::TextScore score;
  fs::path checkpoint;
};

/// How much compute the baseline's recipe would need for a loss, from its own fully decayed runs at several budgets.
struct ComputeEquivalent {
  enum class Kind { kInterpolated, kExtrapolated, kBelowLadder, kUnknown } kind = Kind::kUnknown;
  double ratio = 0;  ///< of the full budget
};

struct ArmSummary {
  std::string name;
  int64_t n_seeds = 0, n_parameters = 0;
  double nats_per_token = 0, bits_per_byte = 0, seed_spread = 0;  ///< means over seeds; standard deviation over seeds
  double raw_tokens = 0, flops = 0, seconds = 0, steps = 0;
  ComputeEquivalent equivalent;
  std::string sample;
};

struct PairSummary {
  std::string arm, reference;
  Difference difference;  ///< arm minus reference, nats per token: negative is better
};

struct Report {
  std::vector<ArmSummary> arms;
  std::vector<PairSummary> pairs;
  std::vector<std::pair<double, double>> ladder;  ///< (share of the budget, nats per token) of the baseline, ascending
  int64_t n_blocks = 0, n_documents = 0, n_tokens = 0, n_seeds = 0;
  std::string match;

  std::string to_markdown() const;
  std::string to_json() const;
};

/// Makes the observer of a run, given its label.
using ObserverFactory = std::function<std::unique_ptr<train::Observer>(const std::string&)>;

/// Trains what is missing under `out` and judges. Can be stopped and called again: finished runs are read back, an
/// unfinished one resumes. Returns nothing when the observer asked to stop.
std::optional<Report> compare(const Comparison& comparison, const fs::path& out, const ObserverFactory& observers);

/// Loss at which compute: piecewise linear in log compute between the rungs; beyond the last rung the last slope goes on, which
/// is a lower bound where the curve flattens. points: (share of the budget, loss), ascending in the first.
ComputeEquivalent compute_equivalent(const std::vector<std::pair<double, double>>& points, double loss);

}  // namespace entrain::lab
