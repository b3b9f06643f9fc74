#pragma once
// Self-organised allocation (experts.md 3.4): what shares of the questions a gate gives to each expert when it is trained for nothing but right answers less their
// price, over prices, mixes of questions and starting points; and what enforcing shares would do.
//
// Shapes: n training and m test questions, C features, N experts.

#include <span>
#include <string>
#include <vector>

#include "entrain/base/tensor.h"

namespace entrain::experts {

/// Questions and how each expert did on them.
struct AllocationSheet {
  Tensor features;  ///< (n, C): router_features of the cheapest expert, finite
  Tensor correct;   ///< (n, N), 0 or 1
};

/// A distribution over the questions. Shares, accuracies and costs on the test sheet are taken under the same mix as the gate is trained on.
struct Mix {
  std::string name;
  Tensor train, test;  ///< (n), (m): weights >= 0 with a positive sum; undefined: all equal
};

/// Every lambda with every mix and every start is a configuration.
struct AllocationGrid {
  std::vector<double> lambdas;              ///< price of the dearest expert's cost, in answers got right
  std::vector<Mix> mixes;
  std::vector<std::vector<double>> starts;  ///< shares, all positive, that the untrained gate gives on every question
};

struct AllocationOptions {
  int64_t steps = 600;     ///< of ascent; their length falls linearly to zero. A third of them leaves gates near the corner they started at
  int64_t rows = 2048;     ///< questions in a step, drawn from `seed` where there are more; 0: all
  double lr = 0.3;         ///< length of the first step in the space of a gate's weights (on standardised features)
  uint64_t seed = 0;
};

/// What one configuration learned. Shares sum to 1.
struct Allocation {
  double lambda = 0;
  size_t mix = 0, start = 0;               ///< in the grid
  std::vector<double> hard, expected;      ///< on the test sheet: of argmax decisions; of the gate's probabilities
  std::vector<double> oracle;              ///< of the best expert for each test question, knowing who is right; ties to the cheaper
  std::vector<double> informed;            ///< of the best expert by P(right) from the same features (probes fitted under the same mix): what the features can tell
  double accuracy = 0, cost = 0;           ///< of the argmax decisions
  double informed_accuracy = 0, informed_cost = 0;
  double oracle_accuracy = 0, oracle_cost = 0;
  double gradient_norm = 0;                ///< of the expected utility at the start, by the gate's weights on standardised features
  double least_gradient_norm = 0;          ///< the smallest of all steps
  std::vector<int64_t> dead;               ///< experts that argmax gives no test question
};

/// Trains a linear softmax gate for each configuration, all at once, by exact gradient ascent on the expected utility
///   sum over questions of weight * sum_j pi_j(x) (c_j - lambda cost_j).
/// by Adam with one second moment for each gate in place of one for each weight, which keeps the gradient's direction and makes its length lr.
/// The gate is a full softmax: no top-1 renormalised to 1, no loss for balance, no target share anywhere. Features are standardised by the training sheet; weights
/// begin at 0 and biases at ln(start). cost: (N), relative (Sheet::relative_cost). Deterministic at a fixed number of threads. In the order lambda, mix, start, the last fastest.
/// Throws Error{kNumeric} naming the configuration whose gate gets no gradient: all experts are then worth the same everywhere.
std::vector<Allocation> allocate(const AllocationSheet& train, const AllocationSheet& test, const Tensor& cost, const AllocationGrid& grid, const AllocationOptions& options = {});

/// Shares that are enforced instead of learned.
struct EnforcedShares {
  std::string name;
  std::vector<double> shares;
};

/// A control arm and what is free to choose at its cost.
struct EnforcedArm {
  std::string name;
  std::vector<double> shares;                     ///< as carried out
  double accuracy = 0, cost = 0, utility = 0;     ///< utility at the lambda given
  double free_accuracy = 0, free_cost = 0;        ///< best decisions by the same P(right) at a mean cost not above the arm's
  std::vector<double> free_shares;
  double oracle_accuracy = 0;                     ///< the same quotas filled knowing who is right: the most the shares allow
};

/// For each: test questions go to the experts best for them under fixed quotas (quotas.h), by P(right) from probes on the training sheet, all questions counted equally; then the shares'
/// cost is fixed and accuracy is all there is to win. free_*: argmax of P_j - price cost_j at the least price that keeps the cost, by bisection.
std::vector<EnforcedArm> enforce(const AllocationSheet& train, const AllocationSheet& test, const Tensor& cost, double lambda, std::span<const EnforcedShares> targets);

}  // namespace entrain::experts
