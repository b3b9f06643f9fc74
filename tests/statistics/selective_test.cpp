#include "entrain/statistics/selective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "entrain/base/random.h"
#include "entrain/statistics/auroc.h"

namespace entrain::statistics {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;
using Labels = std::vector<uint8_t>;

struct Sample {
  Doubles probabilities;
  Labels labels;
};

/// Right with probability p ^ power, told p: calibrated at power 1.
Sample draw(uint64_t seed, size_t n, double power = 1) {
  RandomStream random = stream(seed, "calibration");
  Sample sample;
  for (size_t i = 0; i < n; ++i) {
    sample.probabilities.push_back(random.next_uniform());
    sample.labels.push_back(random.next_uniform() < std::pow(sample.probabilities.back(), power));
  }
  return sample;
}

TEST(Brier, ByHand) {
  EXPECT_DOUBLE_EQ(brier(Doubles{1, 0, 0.5, 0.9}, Labels{1, 0, 0, 1}), (0.25 + 0.01) / 4);
  EXPECT_EQ(brier(Doubles{0, 1}, Labels{1, 0}), 1);
  EXPECT_THROW(brier(Doubles{}, Labels{}), std::logic_error);
  EXPECT_THROW(brier(Doubles{1.1}, Labels{1}), std::logic_error);
  EXPECT_THROW(brier(Doubles{kNan}, Labels{1}), std::logic_error);
  EXPECT_THROW(brier(Doubles{0.5}, Labels{2}), std::logic_error);
}

TEST(ReliabilityBins, ByHand) {
  // Four items, two bins: {0.1, 0.3} and {0.6, 0.8}.
  const auto bins = reliability_bins(Doubles{0.8, 0.1, 0.6, 0.3}, Labels{1, 0, 1, 1}, 2);
  ASSERT_EQ(bins.size(), 2u);
  EXPECT_EQ(bins[0].n, 2);
  EXPECT_EQ(bins[0].n_correct, 1);
  EXPECT_DOUBLE_EQ(bins[0].confidence, 0.2);
  EXPECT_EQ(bins[1].accuracy(), 1);
  EXPECT_DOUBLE_EQ(bins[1].confidence, 0.7);
  // 0.5 three times among four: the middle of the run is item 2 (index 1), so all three are in the lower bin.
  const auto tied = reliability_bins(Doubles{0.5, 0.9, 0.5, 0.5}, Labels{1, 0, 1, 0}, 2);
  ASSERT_EQ(tied.size(), 2u);
  EXPECT_EQ(tied[0].n, 3);
  EXPECT_EQ(tied[1].n, 1);
  EXPECT_EQ(reliability_bins(Doubles(100, 0.7), Labels(100, 1)).size(), 1u);
  EXPECT_EQ(reliability_bins(Doubles{0.2, 0.4, 0.6}, Labels{0, 1, 1}).size(), 3u) << "fewer items than bins";
  EXPECT_THROW(reliability_bins(Doubles{0.5}, Labels{1}, 0), std::logic_error);
}

TEST(ReliabilityBins, EqualMass) {
  const Sample sample = draw(1, 1000);
  const auto bins = reliability_bins(sample.probabilities, sample.labels);
  ASSERT_EQ(bins.size(), 15u);
  for (size_t b = 0; b < bins.size(); ++b) {
    EXPECT_TRUE(bins[b].n == 66 || bins[b].n == 67) << bins[b].n;
    EXPECT_GT(bins[b].confidence, b > 0 ? bins[b - 1].confidence : 0);
  }
}

TEST(CalibrationError, ByHand) {
  // Bins {0.2, 0.2} with one right and {0.7, 0.7} with both: distances -0.3 and -0.3, variances 0.25 / 1 and 0.
  const CalibrationError e = calibration_error(Doubles{0.2, 0.2, 0.7, 0.7}, Labels{1, 0, 1, 1}, 2);
  EXPECT_NEAR(e.ece, 0.3, 1e-15);
  EXPECT_NEAR(e.squared_debiased, ((0.09 - 0.25) + 0.09) / 2, 1e-15);
  EXPECT_EQ(e.rms_debiased, 0);
  const CalibrationError sure = calibration_error(Doubles{1, 1, 0}, Labels{1, 1, 0});
  EXPECT_EQ(sure.ece, 0);
  EXPECT_EQ(sure.ece_corrected, 0);
  EXPECT_EQ(sure.squared_debiased, 0);
  const CalibrationError wrong = calibration_error(Doubles{0, 0, 0}, Labels{1, 1, 1});
  EXPECT_EQ(wrong.ece, 1);
  EXPECT_EQ(wrong.ece_corrected, 1);
  EXPECT_EQ(wrong.rms_debiased, 1);
  EXPECT_EQ(calibration_error(Doubles{0.5}, Labels{1}).squared_debiased, 0) << "a single item has no variance";
}

TEST(CalibrationError, TheSquaredOneHasNoBias) {
  double plain = 0, corrected = 0, squared = 0, squares = 0;
  for (uint64_t repetition = 0; repetition < 300; ++repetition) {
    const Sample sample = draw(repetition, 300);
    const CalibrationError e = calibration_error(sample.probabilities, sample.labels);
    plain += e.ece / 300;
    corrected += e.ece_corrected / 300;
    squared += e.squared_debiased / 300;
    squares += e.squared_debiased * e.squared_debiased / 300;
  }
  EXPECT_GT(plain, 0.05) << "20 items a bin look miscalibrated by sqrt(2 / pi) standard errors of 0.09";
  EXPECT_LT(corrected, 0.7 * plain);
  EXPECT_NEAR(squared, 0, 4 * std::sqrt(squares / 300));
}

TEST(CalibrationError, FindsTheTrueError) {
  // Told p, right with p^2: E (p - p^2)^2 = 1/3 - 1/2 + 1/5 = 1/30 but for the width of a bin.
  double squared = 0;
  for (uint64_t repetition = 0; repetition < 100; ++repetition) {
    const Sample sample = draw(repetition, 600, 2);
    squared += calibration_error(sample.probabilities, sample.labels).squared_debiased / 100;
  }
  EXPECT_NEAR(squared, 1.0 / 30, 0.002);
}

TEST(RiskCoverage, ByHand) {
  // Confident first: right, wrong, right, wrong. Generalized risk 0 0 1 1 2 (of 4) at coverages 0 to 4 (of 4): trapezoids 0 .5 1 1.5.
  const Doubles scores{4, 3, 2, 1};
  const Labels labels{1, 0, 1, 0};
  EXPECT_DOUBLE_EQ(augrc(scores, labels), 3.0 / 16);
  // Risks 0 | 0 1/2 1/3 1/2: trapezoids 0, 1/4, 5/12, 5/12, each a quarter wide.
  EXPECT_DOUBLE_EQ(aurc(scores, labels), (0 + 1.0 / 4 + 5.0 / 12 + 5.0 / 12) / 4);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(scores, labels, 0.25), 1);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(scores, labels, 0.5), 0.5);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(scores, labels, 0.75), 2.0 / 3);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(scores, labels, 1), 0.5);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(scores, labels, 0.1), 1);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(scores, labels, 0.375), 1 - 0.5 / 1.5) << "half of the second item";
}

TEST(RiskCoverage, Identities) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Sample sample = draw(seed, 50);
    if (seed % 2) for (double& p : sample.probabilities) p = std::floor(5 * p);
    const double area = auroc(sample.probabilities, sample.labels).auroc.estimate;
    double correct = 0;
    for (const uint8_t label : sample.labels) correct += label / 50.0;
    EXPECT_NEAR(augrc(sample.probabilities, sample.labels), (1 - area) * correct * (1 - correct) + (1 - correct) * (1 - correct) / 2, 1e-13);
    Doubles grown;
    for (const double p : sample.probabilities) grown.push_back(3 * p - 7);
    EXPECT_EQ(aurc(grown, sample.labels), aurc(sample.probabilities, sample.labels));
    EXPECT_NEAR(accuracy_at_coverage(grown, sample.labels, 1), correct, 1e-13);
  }
}

TEST(RiskCoverage, Degenerate) {
  const Doubles tied(6, 0.3);
  const Labels half{1, 0, 1, 0, 1, 0};
  EXPECT_DOUBLE_EQ(augrc(tied, half), 0.25);
  EXPECT_DOUBLE_EQ(aurc(tied, half), 0.5);
  EXPECT_DOUBLE_EQ(accuracy_at_coverage(tied, half, 0.1), 0.5);
  EXPECT_EQ(augrc(Doubles{1, 2}, Labels{1, 1}), 0);
  EXPECT_EQ(aurc(Doubles{1, 2}, Labels{0, 0}), 1);
  EXPECT_EQ(augrc(Doubles{1, 2}, Labels{0, 0}), 0.5);
  EXPECT_THROW(augrc(Doubles{}, Labels{}), std::logic_error);
  EXPECT_THROW(aurc(Doubles{kNan}, Labels{1}), std::logic_error);
  EXPECT_THROW(accuracy_at_coverage(Doubles{1}, Labels{1}, 0), std::logic_error);
  EXPECT_THROW(accuracy_at_coverage(Doubles{1}, Labels{1}, 1.01), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
