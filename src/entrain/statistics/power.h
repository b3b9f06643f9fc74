#pragma once
// How many seeds or items a comparison needs, and what it can detect. Two-sided tests throughout; alpha (false positives) in (0, 1),
// power (true positives at the given effect) in (alpha, 1). Anything outside its stated range throws std::logic_error.

#include <cstdint>

namespace entrain::statistics {

/// What a test is designed for.
struct TestDesign {
  double alpha = 0.05;
  double power = 0.8;
};

/// Probability that a two-sided paired t-test of n pairs rejects when the mean difference is `effect` and the sd of a difference is
/// `sd` > 0 (the noncentral t distribution, both tails; Cohen, 1988). n >= 2. At effect 0 it is alpha.
double paired_t_power(double effect, double sd, int64_t n, double alpha = 0.05);

/// Smallest number of pairs (training seeds, at least 2) with which that power reaches design.power. |effect| >= 1e-6 sd.
int64_t paired_t_pairs(double effect, double sd, TestDesign design = {});

/// Smallest mean difference > 0 found with design.power by n >= 2 pairs.
double paired_t_detectable_effect(double sd, int64_t n, TestDesign design = {});

/// Items for a McNemar test to find a difference between two accuracies on the same items, when the models' answers differ in
/// correctness on the share `discordance` of them (Connor, 1987, eq. 2). 0 < |difference| <= discordance <= 1, both shares of one.
int64_t mcnemar_items(double difference, double discordance, TestDesign design = {});

/// Items to find a mean paired difference whose sd between items is sd > 0, by the normal approximation. difference is not 0.
int64_t paired_mean_items(double difference, double sd, TestDesign design = {});

/// Smallest difference between two proportions near `proportion` (in [0, 1]) that n >= 1 items each detect, by the normal approximation;
/// correlation in [-1, 1] is that of both models' correctness on the same items, 0 for independent sets (Miller, 2024, section 5).
double proportion_detectable_difference(double proportion, int64_t n, double correlation = 0, TestDesign design = {});

}  // namespace entrain::statistics
