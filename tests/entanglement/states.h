#pragma once
// Inputs of the entanglement tests.

#include <ATen/ATen.h>

#include "entrain/base/random.h"
#include "entrain/entanglement/context.h"
#include "entrain/entanglement/positives.h"

namespace entrain::entanglement {

inline Tensor normal(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  RandomStream random = stream(seed, "test/normal");
  const Tensor x = at::empty(shape, at::kDouble);
  double* values = x.data_ptr<double>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = random.next_normal();
  return x.to(dtype);
}

inline Tensor integers(at::IntArrayRef shape, int64_t below, uint64_t seed) {
  RandomStream random = stream(seed, "test/integers");
  const Tensor x = at::empty(shape, at::kLong);
  int64_t* values = x.data_ptr<int64_t>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = static_cast<int64_t>(random.next_below(static_cast<uint64_t>(below)));
  return x;
}

inline Tensor unit(const Tensor& x) { return x / x.norm(2, {-1}, true); }

/// The operator of positives as a matrix, (n, n) float64.
inline Tensor matrix_of(const Positives& positives) { return positives.apply(at::eye(positives.has().size(0), at::kDouble)); }

/// Statistics whose vectors are random and non-negative.
inline TokenStatistics random_statistics(int64_t vocab, int64_t rank) {
  return {.counts = integers({vocab}, 50, 3).to(at::kDouble) + 1, .vectors = normal({vocab, rank}, 4, at::kFloat).clamp_min(0)};
}

}  // namespace entrain::entanglement
