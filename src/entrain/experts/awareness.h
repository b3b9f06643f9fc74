#pragma once
// What an expert knows of itself and of a question: linear probes on its states, trained on a split of their own (experts.md 3.1).

#include <vector>

#include "entrain/experts/logistic.h"
#include "entrain/experts/sheet.h"
#include "entrain/model/safetensors.h"

namespace entrain::experts {

/// What the probes say of n questions, each in [0, 1].
struct Awareness {
  Tensor before;      ///< (n): P(the answer will be right), from the state at the question's end (P(IK); Kadavath et al., arXiv 2207.05221)
  Tensor after;       ///< (n): P(the answer is right), from the state at the answer (P(True))
  Tensor complexity;  ///< (n): the item's depth as a share of the deepest
  Tensor urgency;     ///< (n): P(the cheapest expert is right): waiting for others gains nothing
  Tensor precision;   ///< (n): P(the cheapest is wrong and the dearest right): waiting pays
  Tensor defer_to;    ///< (n, N): P(expert j is right), whom to hand the question to
};

class AwarenessHeads {
 public:
  /// Fits the heads of expert i to a sheet of the awareness split.
  static AwarenessHeads fit(const Sheet& sheet, int64_t i);
  /// The same on other states than the sheet's own: before, after (n, C), as after observation; `correct` (n) of the answers given from them.
  static AwarenessHeads fit(const Sheet& sheet, const Tensor& before, const Tensor& after, const Tensor& correct);
  Awareness judge(const Tensor& before, const Tensor& after) const;
  /// Under names that begin with `prefix`.
  model::NamedTensors state(const std::string& prefix) const;
  static AwarenessHeads from(const std::vector<std::pair<std::string, Tensor>>& tensors, const std::string& prefix);

 private:
  Probes before_, after_;
};

/// Confidences without any training, from the answer's distribution: (n) each; what heads must beat.
Tensor max_probability(const Answers& answers);
Tensor margin(const Answers& answers);
Tensor negative_entropy(const Answers& answers);

}  // namespace entrain::experts
