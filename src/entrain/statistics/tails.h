#pragma once
// Tails and quantiles of the distributions that tests refer to, with their limits at infinity.

namespace entrain::statistics {

/// P(T >= t) under Student's t; t may be infinite, degrees > 0.
double t_upper_tail(double t, double degrees);
/// P(|T| >= |t|).
double t_two_sided(double t, double degrees);
/// P(|Z| >= |z|) under the standard normal; z may be infinite.
double normal_two_sided(double z);
/// P(X >= x) under chi-squared; x >= 0, may be infinite, degrees > 0.
double chi_squared_upper_tail(double x, double degrees);
/// P(X >= x) under Fisher's F; x >= 0, may be infinite, both degrees > 0.
double f_upper_tail(double x, double degrees, double degrees_of_error);

/// Half width of a two-sided interval in standard errors: the (1 + confidence) / 2 quantile; confidence in (0, 1).
double t_half_width(double confidence, double degrees);
double normal_half_width(double confidence);

}  // namespace entrain::statistics
