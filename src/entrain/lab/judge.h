#pragma once
// From results to a verdict. Judges what the plan declared by the plan's rule, marks all else as exploratory, and says what cannot
// be told.

#include <optional>
#include <string>
#include <vector>

#include "entrain/lab/job.h"
#include "entrain/statistics/hypothesis.h"
#include "entrain/statistics/joint_fit.h"
#include "entrain/statistics/resampling.h"
#include "entrain/statistics/scaling.h"

namespace entrain::lab {

/// Data-efficiency resamples are fewer than the plan's: each refits a power law.
constexpr int64_t kFitResamples = 1000;

enum class Verdict { kBetter, kWorse, kEquivalent, kUndecided };
std::string to_string(Verdict verdict);

/// One arm against another in one metric, at the full budget. Primary: a primary metric against the plan's reference.
struct Comparison {
  std::string arm, reference, metric;
  bool primary = false;
  size_t n_seeds = 0, n_units = 0;          ///< pairs of seeds; units (documents, blocks, items) resampled within them
  std::string unit;                         ///< "documents", "blocks of 2048 tokens", "items"
  statistics::Interval difference;          ///< arm minus reference; nested bootstrap over seeds and units
  std::optional<statistics::PairedTTest> t_test;  ///< over seeds; nothing with one seed
  double permutation_p = 1, permutation_floor = 1;
  double rule_p = 1;                        ///< of the plan's rule: t-test, TOST or its one side; 1 with one seed
  double adjusted_p = 1;                    ///< the same after Holm over the primary comparisons, Benjamini-Hochberg over the others
  std::optional<double> equivalence_p;      ///< TOST with the plan's effect
  double detectable = 0;                    ///< smallest effect this many seeds find at the plan's power; 0: not known
  int64_t seeds_needed = 0;                 ///< for the plan's effect at the spread that was measured; 0: not known
  Verdict verdict = Verdict::kUndecided;

  bool is_significant() const { return verdict == Verdict::kBetter || verdict == Verdict::kWorse; }
};

struct ArmMetric {
  std::string metric;
  double mean = 0, sd = 0;                  ///< over seeds; sd is 0 with one
  std::vector<double> by_seed;
};

struct ArmSummary {
  std::string name;
  std::vector<int64_t> seeds;               ///< finished at the full budget
  int64_t n_parameters = 0;
  int64_t n_memory_parameters = 0;          ///< in a memory's tables, not among n_parameters
  double steps = 0, raw_tokens = 0, unique_tokens = 0, flops = 0, seconds = 0;  ///< means over seeds
  std::vector<ArmMetric> metrics;
  Trial tuned;
  bool tuned_at_edge = false;               ///< a chosen value is the first or last of its list
  std::string sample;
  std::map<std::string, double> figures = {};  ///< of methods at the end of training, means over seeds
  std::map<std::string, int> alarms = {};      ///< of methods: in how many runs
};

/// Loss against one axis over seeds, for a band.
struct Band {
  std::string arm, axis;                    ///< "steps", "raw tokens", "FLOPs", "seconds"
  struct Point {
    double x = 0, mean = 0, low = 0, high = 0;
  };
  std::vector<Point> points;                ///< low, high: the lowest and highest seed
};

/// The data-efficiency figures along one axis, from separate fully decayed runs.
struct Efficiency {
  std::string axis;
  std::vector<std::string> arms;            ///< index of ScalingPoint::arm
  std::vector<statistics::ScalingPoint> points;
  size_t reference = 0;                     ///< index of the reference in `arms`
  std::vector<statistics::IsoLossRatio> ratios;   ///< one an arm, the reference's own left empty
  statistics::JointBootstrap fit;           ///< says itself where it is not identified
};

struct Judgement {
  std::string question, plan_hash, frozen_at, first_result_at, match, split, reference;
  std::vector<ArmSummary> arms;
  std::vector<Comparison> comparisons;      ///< primary ones first, in the plan's order
  std::vector<Efficiency> efficiency;       ///< empty without a ladder
  std::vector<Band> bands;
  std::vector<std::string> decision;        ///< one sentence an arm, the rule applied
  std::vector<std::string> cautions;        ///< what limits the verdict: missing runs, one seed, edges of grids, ...
  size_t n_documents = 0, n_tokens = 0;

  std::string to_markdown() const;
  std::string to_json() const;
};

/// results: all finished runs. Seeds that one side lacks are left out of that pair and named in cautions.
/// Throws Error{kUsage} where a decayed run would be compared with an undecayed one, or arms were scored on different text.
Judgement judge(const Plan& plan, const std::vector<Result>& results, const std::string& frozen_at);

}  // namespace entrain::lab
