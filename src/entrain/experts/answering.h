#pragma once
// One question put to a pool: who answers, why, and what it cost.

#include <string>
#include <vector>

#include "entrain/experts/run.h"

namespace entrain::experts {

struct AskedExpert {
  std::string name;
  double p_correct = 0;        ///< the coordinator's
  double relative_cost = 0;
  double value = 0;            ///< p_correct - lambda relative_cost; what the choice was made by
  std::string failure = {};    ///< not empty: it was asked, failed, and another took its place
};

struct PoolAnswer {
  std::string answer;
  int64_t answered_by = -1;             ///< of the pool's experts; -1: a blend of all
  std::string why;                      ///< in a sentence
  std::vector<AskedExpert> experts;
  std::vector<double> probabilities;    ///< of reasoning::kAnswers
  std::string written;                  ///< by the expert that answered, scratchpad included
  double confidence_before = 0, confidence_after = 0, complexity = 0, urgency = 0, precision = 0;  ///< its own heads'
  double flops = 0;                     ///< of all that ran
};

/// Selection: the cheapest expert reads, the coordinator decides, one answers; an expert that fails is replaced by the next best.
/// blend: all answer and their probabilities are averaged by the recipe's shares. Throws Error{kNumeric} where every expert fails, Error{kUsage} for an empty question.
PoolAnswer answer(const OpenRun& run, const std::string& question, double lambda, bool blend_all);

}  // namespace entrain::experts
