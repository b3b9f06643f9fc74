#pragma once
// The results of an experiment, over seeds, and the report of them.

#include <array>
#include <string>
#include <vector>

#include "entrain/modalities/experiment.h"
#include "entrain/statistics/hypothesis.h"

namespace entrain::modalities {

/// Means over seeds of one arm at one share for two modalities; recall and reciprocal rank are means of both directions too.
struct ArmRow {
  std::string group, a, b, arm;
  double share = 0;
  int64_t n_paired = 0, n_seeds = 0;
  std::array<double, 3> recall{};
  double reciprocal_rank = 0, gap = 0, steps = 0, flops = 0, seconds = 0;
};

/// arm - reference over the seeds that both have.
struct DifferenceRow {
  std::string group, a, b, arm, reference;
  double share = 0;
  int64_t n_seeds = 0;
  std::array<statistics::PairedTTest, 3> recall;  ///< 95 % intervals of Student's t
  statistics::PairedTTest gap;
};

struct Summary {
  int64_t items = 0, held_out = 0, batch = 0;
  std::vector<ArmRow> arms;
  std::vector<DifferenceRow> differences;  ///< of every two arms, the later one of arm_names() as reference

  std::string to_json() const;
  /// The table of arms and that of differences, with the chance level.
  std::string to_markdown() const;
};

/// results: not empty, of one experiment.
Summary summarise(const std::vector<Result>& results);

}  // namespace entrain::modalities
