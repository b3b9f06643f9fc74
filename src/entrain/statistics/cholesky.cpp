#include "entrain/statistics/cholesky.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "entrain/base/error.h"

namespace entrain::statistics {

Cholesky::Cholesky(std::span<const double> matrix, size_t n) : n_(n), lower_(n * n), smallest_pivot_(std::numeric_limits<double>::infinity()) {
  ENTRAIN_CHECK(matrix.size() == n * n, std::to_string(matrix.size()) + " values for " + std::to_string(n) + " rows");
  for (size_t j = 0; j < n; ++j) {
    double pivot = matrix[j * n + j];
    for (size_t k = 0; k < j; ++k) pivot -= lower_[j * n + k] * lower_[j * n + k];
    smallest_pivot_ = std::min(smallest_pivot_, pivot);
    if (!(smallest_pivot_ > 0)) return;
    const double diagonal = lower_[j * n + j] = std::sqrt(pivot);
    for (size_t i = j + 1; i < n; ++i) {
      double rest = matrix[i * n + j];
      for (size_t k = 0; k < j; ++k) rest -= lower_[i * n + k] * lower_[j * n + k];
      lower_[i * n + j] = rest / diagonal;
    }
  }
}

std::vector<double> Cholesky::solve(std::span<const double> b) const {
  ENTRAIN_CHECK(smallest_pivot_ > 0 && b.size() == n_, "pivot " + std::to_string(smallest_pivot_) + ", " + std::to_string(b.size()) + " values");
  std::vector<double> x(b.begin(), b.end());
  for (size_t i = 0; i < n_; ++i) {
    for (size_t k = 0; k < i; ++k) x[i] -= lower_[i * n_ + k] * x[k];
    x[i] /= lower_[i * n_ + i];
  }
  for (size_t i = n_; i-- > 0;) {
    for (size_t k = i + 1; k < n_; ++k) x[i] -= lower_[k * n_ + i] * x[k];
    x[i] /= lower_[i * n_ + i];
  }
  return x;
}

}  // namespace entrain::statistics
