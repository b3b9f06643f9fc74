#pragma once
// Regressions with few columns: a straight line by least squares, a binary mark on scores by logistic regression.
// Lengths that differ, values that are NaN or infinite, or labels other than 0 and 1 throw std::logic_error.

#include <cstdint>
#include <span>
#include <vector>

#include "entrain/statistics/pooling.h"
#include "entrain/statistics/resampling.h"

namespace entrain::statistics {

/// y = intercept + slope x by least squares, its points independent (average those of one run first).
struct LineFit {
  Interval slope;
  double intercept = 0;
  double se = 0;         ///< of the slope
  double p_zero = 1;     ///< two-sided, of slope 0, by Student's t with n - 2 degrees of freedom
  double p_one = 1;      ///< of slope 1
  double r_squared = 0;  ///< share of the variance of y, in [0, 1]
};

/// Fewer than three points, or x constant: slope 0 and all numbers its interval, both p 1, the intercept the mean of y (0 without points).
/// On a line exactly, the interval has no width and each p is 0 or 1.
LineFit fit_line(std::span<const double> x, std::span<const double> y, double confidence = 0.95);

constexpr double kLogisticRidge = 1e-6;

/// P(label = 1) = 1 / (1 + exp(-(intercept + sum of coefficient times column))).
struct LogisticFit {
  double intercept = 0;
  std::vector<double> coefficients;     ///< one a column, in 1 / its unit
  std::vector<double> standard_errors;  ///< of the coefficients, from the observed information
  double log_likelihood = 0;            ///< in nats, without the ridge; <= 0
  /// Whether the data hold the coefficients. False where a plane separates the labels, a class is missing, a column is constant or follows
  /// from others (least pivot of the standardised columns' information below 1e-3): the ridge alone keeps them finite, no standard error
  /// means anything; the likelihood is still good.
  bool determined = false;
};

/// Newton's method with halved steps (iteratively reweighted least squares) on the likelihood less kLogisticRidge / 2 times the squared
/// coefficients of the standardised columns, intercept included: a shift below a thousandth of a standard error wherever the fit is determined, and
/// a finite answer wherever it is not. columns: each as long as labels, none is the intercept alone; labels not empty.
LogisticFit fit_logistic(std::span<const std::vector<double>> columns, std::span<const uint8_t> labels);

/// What a second score knows of the labels that the first ones do not.
struct PartialInformation {
  LogisticFit without, with;  ///< the added score is the last column
  double chi_squared = 0;     ///< 2 (log likelihood with - without), one degree of freedom
  double p = 1;               ///< likelihood-ratio test (Wilks, 1938): a large-sample approximation
  double nats_per_item = 0;   ///< gained by the added score
};

/// known: may be none, which tests the score alone. Scores enter as they are: put probabilities on the logit scale first.
PartialInformation partial_information(std::span<const std::vector<double>> known, std::span<const double> added, std::span<const uint8_t> labels);

/// One family's logistic slope.
struct FamilySlope {
  int64_t family = 0, n = 0;
  double slope = 0, se = 0;  ///< se 0 when it is not determined
  bool pooled = false;       ///< whether it is determined, and so in the mean
};

struct PooledSlope {
  RandomEffects slope;                ///< log odds per unit of x; p 1 and all numbers the interval when no family is pooled
  std::vector<FamilySlope> families;  ///< ascending
  int64_t n_left_out = 0;             ///< families whose slope is not determined
};

/// Stands for the mixed model P(label) ~ x + (x | family): each family's own intercept and slope, the slopes pooled by random_effects().
/// Two stages instead of one likelihood: near to it where each family has some dozens of items of both labels. A family with fewer has a
/// slope too steep and a variance too uncertain, and one that x separates is left out though it speaks for the steepest slope of all, so
/// look at n_left_out. No correlation of intercept and slope is estimated. family: one number an item.
PooledSlope pooled_logistic_slope(std::span<const double> x, std::span<const uint8_t> labels, std::span<const int64_t> family, double confidence = 0.95);

}  // namespace entrain::statistics
