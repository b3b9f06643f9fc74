#pragma once
// The weights of a model under two views: as stored (projections that read the same input are one matrix, so that one GEMM
// serves them) and as Transformers names them (row slices of the stored tensors). Everything outside the forward pass -
// checkpoints, optimizers, logs - uses the second view.

#include <string>
#include <vector>

#include "entrain/base/tensor.h"

namespace entrain::model {

/// What a weight is, which decides its optimizer and its weight decay.
enum class Role { kEmbedding, kHead, kMatrix, kNorm, kBias };

/// A weight under Transformers' name: a view of rows of a stored tensor.
struct Weight {
  std::string name;
  Role role;
  Tensor value;        ///< detached view; writing it changes the model
  size_t stored;       ///< index of the stored tensor
  int64_t row_begin;   ///< rows of the stored tensor it covers
  int64_t rows;
};

class Parameters {
 public:
  struct Part {
    std::string name;
    int64_t rows;
  };
  /// Adds a stored tensor made of `parts` stacked along dimension 0, as a leaf that requires a gradient.
  Tensor add(Role role, std::vector<Part> parts, std::vector<int64_t> trailing_shape);
  Tensor add(Role role, const std::string& name, std::vector<int64_t> shape);

  const std::vector<Weight>& weights() const { return weights_; }
  const std::vector<Tensor>& stored() const { return stored_; }
  /// The gradient rows that belong to a weight; undefined where no gradient has been computed.
  Tensor gradient(const Weight& weight) const;
  void clear_gradients();
  int64_t count() const;

 private:
  std::vector<Tensor> stored_;
  std::vector<Weight> weights_;
};

}  // namespace entrain::model
