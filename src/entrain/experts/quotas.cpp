#include "entrain/experts/quotas.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>
#include <string>

#include "entrain/base/error.h"

namespace entrain::experts {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// What moving a question costs, and which; cheapest first.
using Move = std::pair<double, int64_t>;
using Moves = std::priority_queue<Move, std::vector<Move>, std::greater<>>;

}  // namespace

std::vector<int64_t> whole_quotas(std::span<const double> shares, int64_t n) {
  std::vector<int64_t> quotas;
  std::vector<std::pair<double, size_t>> remainders;
  for (size_t j = 0; j < shares.size(); ++j) {
    const double exact = shares[j] * static_cast<double>(n);
    quotas.push_back(static_cast<int64_t>(std::floor(exact + 1e-9)));
    remainders.emplace_back(static_cast<double>(quotas.back()) - exact, j);
  }
  std::sort(remainders.begin(), remainders.end());
  const int64_t missing = n - std::accumulate(quotas.begin(), quotas.end(), int64_t{0});
  ENTRAIN_CHECK(missing >= 0 && missing <= std::ssize(quotas), "shares do not sum to 1");
  for (int64_t k = 0; k < missing; ++k) ++quotas[remainders[static_cast<size_t>(k)].second];
  return quotas;
}

Tensor assign(const Tensor& scores, std::span<const int64_t> quotas) {
  const Tensor table = scores.to(at::kDouble).contiguous();
  const int64_t n = table.size(0), n_experts = table.size(1);
  ENTRAIN_CHECK(std::ssize(quotas) == n_experts && std::accumulate(quotas.begin(), quotas.end(), int64_t{0}) == n && std::ranges::all_of(quotas, [](int64_t q) { return q >= 0; }) &&
                    at::isfinite(table).all().item<bool>(),
                "quotas of " + std::to_string(quotas.size()) + " experts for " + std::to_string(n) + " questions");
  const double* score = table.data_ptr<double>();
  const auto N = static_cast<size_t>(n_experts);
  std::vector<int64_t> chosen(static_cast<size_t>(n)), count(N, 0);
  std::vector<std::vector<Moves>> moves(N, std::vector<Moves>(N));  // [from][to]; stale entries are dropped when met
  const auto give = [&](int64_t k, int64_t j) {
    chosen[static_cast<size_t>(k)] = j;
    ++count[static_cast<size_t>(j)];
    const double* row = score + k * n_experts;
    for (int64_t l = 0; l < n_experts; ++l) {
      if (l != j) moves[static_cast<size_t>(j)][static_cast<size_t>(l)].emplace(row[j] - row[l], k);
    }
  };
  for (int64_t k = 0; k < n; ++k) give(k, std::max_element(score + k * n_experts, score + (k + 1) * n_experts) - (score + k * n_experts));

  // The assignment is the best one for the counts it has, at first and after each cheapest chain (successive shortest paths).
  while (true) {
    std::vector<double> distance(N, kNever);
    std::vector<size_t> previous(N, N);
    for (size_t j = 0; j < N; ++j) {
      if (count[j] > quotas[j]) distance[j] = 0;
    }
    if (std::ranges::all_of(distance, [](double d) { return d == kNever; })) break;
    std::vector<std::vector<double>> cost(N, std::vector<double>(N, kNever));
    for (size_t j = 0; j < N; ++j) {
      for (size_t l = 0; l < N; ++l) {
        Moves& queue = moves[j][l];
        while (!queue.empty() && chosen[static_cast<size_t>(queue.top().second)] != static_cast<int64_t>(j)) queue.pop();
        if (!queue.empty()) cost[j][l] = queue.top().first;
      }
    }
    for (size_t pass = 1; pass < N; ++pass) {  // Bellman and Ford
      for (size_t j = 0; j < N; ++j) {
        for (size_t l = 0; l < N; ++l) {
          if (distance[j] + cost[j][l] < distance[l] - 1e-12) {
            distance[l] = distance[j] + cost[j][l];
            previous[l] = j;
          }
        }
      }
    }
    size_t end = N;
    for (size_t l = 0; l < N; ++l) {
      if (count[l] < quotas[l] && (end == N || distance[l] < distance[end])) end = l;
    }
    ENTRAIN_CHECK(end < N && previous[end] < N, "no chain of moves");
    std::vector<std::pair<int64_t, size_t>> chain;  // (question, to)
    for (size_t l = end; previous[l] < N; l = previous[l]) chain.emplace_back(moves[previous[l]][l].top().second, l);
    for (const auto& [k, to] : chain) {
      --count[static_cast<size_t>(chosen[static_cast<size_t>(k)])];
      give(k, static_cast<int64_t>(to));
    }
  }
  return at::tensor(chosen);
}

}  // namespace entrain::experts
