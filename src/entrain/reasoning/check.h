#pragma once
// The gates that a family has to pass before anything is trained on it: both solvers agree, no structure is in two splits, and no
// shortcut beats chance.
//
// Noise. Items come in whole groups with each answer once and equal symbols; a classifier that sees symbols alone is right once a
// group whatever it learned, so its accuracy is chance exactly and has no noise. Where a family keeps to that only in part, the
// standard error (over groups) says so: a gate is judged per depth where that error is at most half a point, and over all depths of
// the family together where it is greater. A gate fails with an excess above two points that is also above three standard errors;
// at half a point the first of these is the stricter.

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

constexpr double kGateMargin = 0.02;      ///< above chance, that a shortcut may have
constexpr double kGatePrecision = 0.005;  ///< standard error up to which a depth is judged by itself

/// A shortcut on one surface in one cell.
struct GateResult {
  std::string gate;     ///< of kShortcutNames, or "balance": the most frequent answer in a cell of equal length and truth symbols
  std::string surface;  ///< "symbolic" or "english"
  std::string cell;     ///< "depth 3", "depths 1-6", "depth 3, 41 symbols, 2 truth symbols"
  double accuracy = 0, chance = 0, standard_error = 0;
  int64_t n = 0;  ///< items scored
  double excess() const { return accuracy - chance; }
  bool passed() const { return excess() <= kGateMargin || excess() <= 3 * standard_error; }
};

struct CheckReport {
  std::string family;
  bool closed = false;     ///< exempt from the gates and from the overlap
  int64_t n_items = 0;     ///< drawn and solved: half from split train, half from split test
  int64_t n_distinct = 0;  ///< canonical forms among them
  int64_t mismatches = 0;  ///< items where the two solvers and the recorded answer are not all equal, or a solver threw
  int64_t malformed = 0;   ///< items against the form in item.h, and groups against the contract of draw() (family.h)
  int64_t overlap = 0;     ///< items of test whose structure is in train
  std::vector<GateResult> gates = {};
  double worst_excess = -1;      ///< over all gates; at most kGateMargin in a good family
  double items_per_second = 0;   ///< of drawing for split train
  bool passed = false;
  std::string reason = {};  ///< why not, in one clause
};

/// Draws n items of split train and n of split test over all depths. Shortcuts are fitted to the former, by depth, and scored on the
/// latter.
CheckReport check_family(const Family& family, int64_t n, uint64_t seed);

/// "bag of symbols, english, depth 3: +0.4 points"; of closed families "exempt".
std::string worst_gate(const CheckReport& report);

}  // namespace entrain::reasoning
