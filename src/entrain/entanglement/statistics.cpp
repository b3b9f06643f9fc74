#include "entrain/entanglement/statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "entrain/base/error.h"
#include "entrain/base/random.h"

namespace entrain::entanglement {
namespace {

constexpr int64_t kMostTypes = 4096;      // a dense float32 matrix of them is 64 MiB
constexpr int kEigenRounds = 20;          // of subspace iteration; the factorisation corrects what is left
constexpr int kFactorRounds = 60;

/// The most frequent types that occur, most frequent first.
std::vector<int64_t> frequent_types(const double* counts, int64_t vocab) {
  std::vector<int64_t> types(static_cast<size_t>(vocab));
  std::iota(types.begin(), types.end(), 0);
  std::stable_sort(types.begin(), types.end(), [&](int64_t a, int64_t b) { return counts[a] > counts[b]; });
  while (!types.empty() && (static_cast<int64_t>(types.size()) > kMostTypes || counts[types.back()] == 0)) types.pop_back();
  return types;
}

/// (K, K) float32: max(0, log c_ij c / (c_i c_j)) of symmetric co-occurrence counts within `window`.
Tensor ppmi(std::span<const int32_t> tokens, const std::vector<int64_t>& types, int64_t vocab, int64_t window) {
  const int64_t n_types = static_cast<int64_t>(types.size());
  std::vector<int64_t> place(static_cast<size_t>(vocab), -1);
  for (size_t i = 0; i < types.size(); ++i) place[static_cast<size_t>(types[i])] = static_cast<int64_t>(i);
  const Tensor pairs = at::zeros({n_types, n_types}, at::kFloat);
  float* cells = pairs.data_ptr<float>();
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t a = place[static_cast<size_t>(tokens[i])];
    if (a < 0) continue;
    for (size_t j = i + 1; j < tokens.size() && j - i <= static_cast<size_t>(window); ++j) {
      const int64_t b = place[static_cast<size_t>(tokens[j])];
      if (b < 0) continue;
      cells[a * n_types + b] += 1;
      cells[b * n_types + a] += 1;
    }
  }
  const Tensor marginal = pairs.sum(1).clamp_min(1), total = pairs.sum().clamp_min(1);
  return pairs.div_(marginal.unsqueeze(0)).div_(marginal.unsqueeze(1)).mul_(total).log_().clamp_min_(0);  // log 0 = -infinity -> 0
}

/// (K, rank) starts of the factors: sqrt(eigenvalue) times the heavier signed part of each leading eigenvector, columns of 0 where
/// eigenvalues are not positive. Subspace iteration (Halko et al., SIAM Review 2011) from a fixed stream.
Tensor leading_parts(const Tensor& matrix, int64_t rank) {
  const int64_t n = matrix.size(0), width = std::min(n, 2 * rank + 8);  // eigenvalues of either sign are found by size
  Tensor basis = at::empty({n, width}, at::kFloat);
  RandomStream random = stream(0, "entanglement/ppmi");
  float* values = basis.data_ptr<float>();
  for (int64_t i = 0; i < basis.numel(); ++i) values[i] = static_cast<float>(random.next_normal());
  for (int round = 0; round < kEigenRounds; ++round) basis = at::mm(matrix, std::get<0>(at::linalg_qr(basis)));
  basis = std::get<0>(at::linalg_qr(basis));
  const auto [eigenvalues, inner] = at::linalg_eigh(at::mm(basis.t(), at::mm(matrix, basis)));
  const int64_t kept = std::min(rank, width);
  const Tensor vectors = at::mm(basis, inner.narrow(1, width - kept, kept).flip(1));
  const Tensor scale = eigenvalues.narrow(0, width - kept, kept).flip(0).clamp_min(0).sqrt();
  const Tensor up = vectors.clamp_min(0), down = vectors.neg().clamp_min(0);
  return at::where(up.square().sum(0) >= down.square().sum(0), up, down) * scale;
}

/// U >= 0 with U U^T ~ matrix: U <- U (1/2 + (P U) / (2 U U^T U)), which lowers |P - U U^T|.
Tensor factors(const Tensor& matrix, int64_t rank) {
  Tensor u = leading_parts(matrix, rank);
  u = u + 0.01 * matrix.mean().sqrt();  // zeros would stay zeros
  for (int round = 0; round < kFactorRounds; ++round) {
    u = u * (0.5 + 0.5 * at::mm(matrix, u) / at::mm(u, at::mm(u.t(), u)).clamp_min(1e-20));
  }
  return u;
}

}  // namespace

TokenStatistics token_statistics(std::span<const int32_t> tokens, int64_t vocab, const Config& config) {
  TokenStatistics statistics{.counts = at::zeros({vocab}, at::kDouble)};
  double* counts = statistics.counts.data_ptr<double>();
  for (const int32_t token : tokens) {
    ENTRAIN_CHECK(token >= 0 && token < vocab, "token " + std::to_string(token));
    counts[token] += 1;
  }
  if (config.positives != "ppmi") return statistics;
  const std::vector<int64_t> types = frequent_types(counts, vocab);
  const int64_t rank = std::min(config.ppmi_rank, std::max<int64_t>(1, static_cast<int64_t>(types.size())));
  statistics.vectors = at::zeros({vocab, rank}, at::kFloat);
  if (types.empty()) return statistics;
  const Tensor found = factors(ppmi(tokens, types, vocab, config.ppmi_window), rank);
  statistics.vectors.index_copy_(0, at::tensor(types, at::kLong), found);
  return statistics;
}

}  // namespace entrain::entanglement
