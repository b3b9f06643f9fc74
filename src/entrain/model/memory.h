#pragma once
// Memory of co-occurring tokens: the n-gram that ends at a token chooses a row of each of several tables by its hash, and the sum of
// the rows is added to the residual stream or the attention values of chosen blocks. (Hashed bigram embeddings of the modded-nanogpt
// speedrun; several orders, heads and the gate: Engram, arXiv 2601.07372.)

#include "entrain/model/memory_config.h"
#include "entrain/model/token_features.h"

namespace entrain::model {

class Memory final : public TokenFeatures {
 public:
  /// Adds tables and weights to `parameters`, all under names that begin with "memory.". Rows start at zero, so the first forward pass is
  /// that of the model without memory. config must be resolved; norm_eps: in the gate's norms.
  Memory(const MemoryConfig& config, int64_t target_width, double norm_eps, Parameters& parameters);

  /// (B, T, target width): per position the mean over its bag's tokens of the rows their n-grams choose, summed over tables. An n-gram may
  /// reach back into earlier bags, never out of its row of the batch. With segments, all positions its tokens lie in must be of one segment;
  /// in bags, the segment of a position is that of its last token, so a border inside a bag goes unseen.
  Tensor read(const Tensor& ids, const Forward& forward) const override;
  Tensor add_to_residual(int64_t layer, const Tensor& x, const Tensor& features) const override;
  Tensor add_to_values(int64_t layer, const Tensor& v, const Tensor& features) const override;

 private:
  Tensor add(int64_t layer, const Tensor& state, const Tensor& features) const;

  MemoryConfig config_;
  double norm_eps_;
  std::vector<Tensor> tables_;  ///< heads of the first order, then of the next
  Tensor scales_, gates_, projection_;
};

/// Whether a weight or table belongs to the memory or to forward mixing and not to the plain model.
bool is_memory_name(const std::string& name);

/// state + scale * a * rows, where a = sigmoid(norm(state) . (gate * norm(rows)) / sqrt(W)) with root-mean-square norms (arXiv 2601.07372,
/// section 2.3, with a learned weight for its key projection), or 1 without a gate. state, rows: (..., W); scale: scalar; gate: (W) or undefined.
Tensor add_memory(const Tensor& state, const Tensor& rows, const Tensor& scale, const Tensor& gate, double norm_eps);

}  // namespace entrain::model
