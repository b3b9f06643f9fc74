#pragma once
// A = L L^T of a small symmetric positive definite matrix.

#include <cstddef>
#include <span>
#include <vector>

namespace entrain::statistics {

class Cholesky {
 public:
  /// matrix: (n, n), row by row; only its lower half is read. Throws std::logic_error when the sizes disagree.
  Cholesky(std::span<const double> matrix, size_t n);

  /// The least of the pivots L_jj^2, each of which is what row j keeps once the rows before it are accounted for; not positive when the
  /// matrix is not positive definite.
  double smallest_pivot() const { return smallest_pivot_; }
  /// A^-1 b. b: (n). Throws std::logic_error unless smallest_pivot() > 0.
  std::vector<double> solve(std::span<const double> b) const;

 private:
  size_t n_;
  std::vector<double> lower_;  // (n, n)
  double smallest_pivot_;
};

}  // namespace entrain::statistics
