#pragma once
// Tests of hypotheses about paired differences, proportions and ranks, and corrections for several tests at once.
// All p-values lie in [0, 1] and are never NaN; each function says what it answers where the textbook formula divides by zero.
// Input that is empty (where not allowed), NaN or infinite throws std::logic_error.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

/// Paired t-test of mean difference 0 (Student, 1908).
struct PairedTTest {
  Interval mean;        ///< with the confidence interval of the mean difference
  double sd = 0;        ///< of the differences, n - 1 in the denominator
  double t = 0;         ///< mean / (sd / sqrt(n))
  double degrees = 0;   ///< of freedom, n - 1
  double p = 1;         ///< two-sided
};

/// differences: a_i - b_i of pairs, not empty.
/// One difference has no sd: sd, t and degrees are 0, p is 1, the interval is all numbers (-infinity to infinity).
/// All differences equal: p is 1 and t is 0 when they are 0; otherwise p is 0, t infinite and the interval without width.
PairedTTest paired_t_test(std::span<const double> differences, double confidence = 0.95);

/// Two-sided test that differences are symmetric about 0, by flipping their signs (Fisher, 1935, chapter 3); the statistic is |mean|.
struct SignFlipTest {
  double mean = 0, p = 1;
  double smallest_p = 1;  ///< that the design can reach: 2 / 2^n, and 1 / (n_resamples + 1) where draws replace the enumeration
  bool exact = true;
};

constexpr size_t kMaxExactSignFlips = 20;

/// differences: not empty. Enumerates all 2^n signs for n <= kMaxExactSignFlips; beyond that (count + 1) / (n_resamples + 1) over
/// random signs (Phipson and Smyth, 2010). Sums that are equal but for rounding count as equal.
SignFlipTest sign_flip_test(std::span<const double> differences, RandomStream random, int64_t n_resamples = 100000);

/// Two-sided exact McNemar test (McNemar, 1947; binomial form): the p-value of a split only_a : only_b of the discordant items
/// when either way is equally likely. Both >= 0; 1 without discordant items.
double mcnemar_exact(int64_t only_a, int64_t only_b);

/// Two-sided exact binomial test: the probability of all outcomes no likelier than `successes` (within 1e-7, relative).
/// 0 <= successes <= n, probability in [0, 1]. 1 when n is 0.
double binomial_test(int64_t successes, int64_t n, double probability = 0.5);

/// Share of successes and its score interval (Wilson, 1927). 0 <= successes <= n. n = 0 gives {0.5, 0, 1}, the formula's limit.
Interval wilson_interval(int64_t successes, int64_t n, double confidence = 0.95);

/// Adjusted p-values, in the order given: reject those <= alpha to bound the chance of any false rejection (Holm, 1979).
std::vector<double> holm(std::span<const double> p_values);

/// Adjusted p-values, in the order given: reject those <= q to bound the expected share of false rejections (Benjamini and Hochberg, 1995).
std::vector<double> benjamini_hochberg(std::span<const double> p_values);

/// Two one-sided t-tests for equivalence (Schuirmann, 1987).
struct EquivalenceTest {
  double p_low = 1;   ///< of "the mean difference is <= low"
  double p_high = 1;  ///< of "the mean difference is >= high"
  double p = 1;       ///< the larger: equivalent at level alpha when <= alpha
  Interval mean;      ///< at confidence 1 - 2 alpha: inside (low, high) exactly when p < alpha
};

/// differences: not empty. low < high are the bounds of equivalence, in the unit of the differences; alpha in (0, 0.5).
/// One difference: both p are 1, the interval is all numbers. All differences equal: p is 0 for a bound that the mean is strictly
/// inside of and 1 otherwise.
EquivalenceTest equivalence_test(std::span<const double> differences, double low, double high, double alpha = 0.05);

/// Rank correlation (Spearman, 1904), tied values with their mean rank.
struct RankCorrelation {
  double rho = 0;  ///< -1 to 1
  double p = 1;    ///< two-sided, by Student's t with n - 2 degrees of freedom: an approximation, coarse below some 10 pairs
};

/// x and y: of the same length. Fewer than three pairs, or x or y constant, tell nothing: rho 0 and p 1. |rho| = 1 has p 0.
RankCorrelation spearman(std::span<const double> x, std::span<const double> y);

}  // namespace entrain::statistics
