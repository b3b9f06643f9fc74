#pragma once
// What belongs together: each position's positives as one linear operator, never as a matrix of pairs.

#include <memory>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"

namespace entrain::entanglement {

/// The matrix A over n = B T positions (row by row): A_ij >= 0 is the weight of j among i's positives, rows add up to 1, or to 0 where a
/// position has none. A_ii = 0.
class Positives {
 public:
  virtual ~Positives() = default;
  /// A x: (n, k) -> (n, k), float32 or float64; linear and differentiable. Where positives span ranks, every rank must call.
  virtual Tensor apply(const Tensor& x) const = 0;
  /// (n) bool: positions that have a positive.
  const Tensor& has() const { return has_; }
  /// (n) float64: weight of each position in means over positions; 0 where it has no positive.
  const Tensor& row_weights() const { return row_weights_; }
  /// Of positions that have a positive.
  double share() const;

 protected:
  void set_rows(const Tensor& has, const Tensor& row_weights);

 private:
  Tensor has_, row_weights_;
};

/// The operator that config.positives names, for the positions of context.ids (B, T):
/// - `next`: the mean of the next next_k states of the row and document (CPC, arXiv 1807.03748), fewer at its end. O(n k).
/// - `window`: the states up to `window` positions away on both sides in the row and document, weighted window_decay^|i - j|. O(n w).
/// - `same_token`: the same token elsewhere in the scope (all ranks for `batch`), equally weighted, by class sums. A position's row weight is
///   min(1, sqrt(frequency_threshold / f)), f the token's share of the training text, or of the batch without statistics (the keep
///   rate of word2vec's subsampling, arXiv 1310.4546, equation 5, as a weight instead of a draw). O(n).
/// - `views`: the same position in the other dropout view (SimCSE, arXiv 2104.08821; ContraCLM, arXiv 2210.01185).
/// - `ppmi`: all other positions of the scope (all ranks for `batch`), weighted u_t.u_t' of TokenStatistics::vectors. O(n r).
/// - `random`: one other position of the rank's scope, by a cyclic permutation that never changes: a placebo.
/// Programming errors: `views` unless context.views is 2, `ppmi` without vectors.
std::unique_ptr<Positives> make_positives(const Config& config, const Context& context);

}  // namespace entrain::entanglement
