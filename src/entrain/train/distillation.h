#pragma once
// Learning from other models' predictions beside the text: the loss becomes (1 - W) L + W T^2 KL(teachers || student).

#include <memory>
#include <vector>

#include "entrain/model/transformer.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/recipe.h"

namespace entrain::train {

/// One model or several, whose probabilities are averaged at temperature T (an ensemble; Hinton et al., arXiv 1503.02531, section 1).
class Teachers {
 public:
  /// recipe: completed, with a teacher. Throws Error{kUsage} where no model lies there or one cannot read rows of the recipe's
  /// length, and Error{kData} naming all whose tokenizer or vocabulary is not that of the data.
  Teachers(const Recipe& recipe, const text::Tokenizer& tokenizer);

  /// The mixture. loss: the next-token loss of the micro-batch; hidden: (B, T, C) of the student, head: (V, C); inputs: (B, T) int64;
  /// segments: (B, T) int32 or undefined; targets: (B, T, 1), of which a position needs a valid one to count; normaliser: positions of
  /// the whole batch that do.
  Tensor mix(const Tensor& loss, const Tensor& hidden, const Tensor& head, const Tensor& inputs, const Tensor& segments, const Tensor& targets, double normaliser) const;

 private:
  DistillConfig config_;
  std::vector<model::Transformer> models_;
};

/// Null where the recipe names no teacher.
std::unique_ptr<Teachers> open_teachers(const Recipe& recipe, const text::Tokenizer& tokenizer);

/// What teachers add to the cost of a position: the forward pass of each, a third of what training it costs, and the student's head a
/// second time, 6 V C. 0 without one. vocab_size: V.
double distillation_flops_per_position(const Recipe& recipe, int64_t vocab_size);

/// Checksum of all teachers' weights as text; empty without one. Two runs are the same only if it is.
std::string teacher_checksum(const Recipe& recipe);

}  // namespace entrain::train
