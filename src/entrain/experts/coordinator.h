#pragma once
// Who answers: learning to defer with one sigmoid for each expert (Verma et al.; Mao et al., arXiv 2506.20650), and what it has to beat.
// An answer's cost is in units of the dearest expert's mean; lambda prices a unit in answers got right.

#include <optional>
#include <string>
#include <vector>

#include "entrain/experts/logistic.h"
#include "entrain/experts/sheet.h"
#include "entrain/model/safetensors.h"

namespace entrain::experts {

/// Who answered each question and what came of it.
struct Routing {
  std::vector<int64_t> chosen;  ///< (n); -1: none alone (votes and averages)
  Tensor answer;                ///< (n) int64
  Tensor correct;               ///< (n) float64
  Tensor cost;                  ///< (n) float64, relative, everything that ran counted
  double accuracy() const;
  double mean_cost() const;
  /// Share of questions that each of n experts answered.
  std::vector<double> shares(int64_t n_experts) const;
  double utility(double lambda) const { return accuracy() - lambda * mean_cost(); }
};

/// Of the cheapest expert, which reads every question first: the state at the question's end.
const Tensor& router_features(const Sheet& sheet);

/// P(expert j is right) from the features, and decisions from it.
class Coordinator {
 public:
  static Coordinator fit(const Sheet& sheet);
  Tensor predict(const Tensor& features) const { return probes_.predict(features); }  ///< (n, N)
  /// argmax over usable experts of P_j - lambda cost_j. `first` is the expert whose reading is charged when another answers.
  Routing route(const Sheet& sheet, double lambda) const;
  model::NamedTensors state() const;
  static Coordinator from(const std::vector<std::pair<std::string, Tensor>>& tensors);

 private:
  Probes probes_;
};

/// Mean correctness of the k nearest questions of `known` (cosine) in place of the sigmoids (kNN routing, arXiv 2505.12601): (n, N).
Tensor nearest_neighbour_correctness(const Sheet& known, const Sheet& sheet, int64_t k);
/// Decision from any (n, N) table of P(right). charge_reading: the cheapest expert has read every question first.
Routing route_by(const Sheet& sheet, const Tensor& p_correct, double lambda, bool charge_reading);

/// A rule that needs no model's state: thresholds on the prompt's length, or a table by family, whichever served better on the sheet it was tuned on.
class FixedRule {
 public:
  static FixedRule tune(const Sheet& sheet, double lambda);
  Routing route(const Sheet& sheet) const;
  std::string describe(const Sheet& sheet) const;

 private:
  std::vector<int64_t> order_;        // experts by rising cost
  std::vector<int64_t> thresholds_;   // rising; expert order_[k] answers prompts of at most thresholds_[k] tokens, the last all others
  std::vector<std::pair<std::string, int64_t>> by_family_;  // where not empty, this decides
};

/// Experts in order of cost until one's entropy is below its threshold; all that ran are paid.
class Cascade {
 public:
  static Cascade tune(const Sheet& sheet, double lambda);
  explicit Cascade(std::vector<double> thresholds) : thresholds_(std::move(thresholds)) {}
  Routing route(const Sheet& sheet) const;

 private:
  std::vector<double> thresholds_;  // nats, for all experts but the last
};

Routing always(const Sheet& sheet, int64_t expert);
Routing at_random(const Sheet& sheet, uint64_t seed);
/// The best choice there is, knowing what every single answer is worth and costs: an upper bound of the utility of every selection; ties go to the cheaper.
Routing oracle(const Sheet& sheet, double lambda);
/// The most frequent answer of all experts; ties by summed probability.
Routing majority_vote(const Sheet& sheet);
/// Averages of the answers' distributions. weights: (N), not negative; failed experts drop out and the others' are scaled up; alike where none
/// of the others has any.
Routing blend(const Sheet& sheet, const std::vector<double>& weights);
/// Mixture weights that make the true answers likeliest, by expectation maximisation.
std::vector<double> learn_blend(const Sheet& sheet);
/// One expert on both surfaces of a question, probabilities averaged; twice the cost.
Routing self_ensemble(const Sheet& sheet, const Sheet& other, int64_t expert);

/// lambda (>= 0) for which `router` costs no more than `cost` on the sheet and is otherwise best; bisection.
double lambda_for_cost(const Sheet& sheet, const Tensor& p_correct, bool charge_reading, double cost);

/// Experts by rising mean cost, usable ones only.
std::vector<int64_t> by_cost(const Sheet& sheet);

}  // namespace entrain::experts
