#pragma once
// Judging confidences in one's own answers: are they right as probabilities, and what do they buy when the least sure items are passed on?
// labels: 1 where the answer was correct, one an item, else 0. Empty or other input throws std::logic_error.

#include <cstdint>
#include <span>
#include <vector>

namespace entrain::statistics {

constexpr int64_t kCalibrationBins = 15;

/// Mean squared distance of probability and label (Brier, 1950). probabilities in [0, 1].
double brier(std::span<const double> probabilities, std::span<const uint8_t> labels);

/// A bar of the reliability diagram.
struct ReliabilityBin {
  int64_t n = 0, n_correct = 0;
  double confidence = 0;  ///< mean probability
  double accuracy() const { return static_cast<double>(n_correct) / static_cast<double>(n); }
};

/// Bins of equal mass, ascending in confidence: of the n items in ascending order the i-th falls into bin floor(i n_bins / n). Equal
/// probabilities share a bin, that of the middle of their run, so the order of the items does not matter; empty bins are left out.
std::vector<ReliabilityBin> reliability_bins(std::span<const double> probabilities, std::span<const uint8_t> labels, int64_t n_bins = kCalibrationBins);

/// Distance of confidence and accuracy over the bins, weighted by their items.
struct CalibrationError {
  double ece = 0;  ///< mean |confidence - accuracy|: biased upwards, the more the fewer items a bin has
  /// 2 ece - its expectation when each bin's accuracy is drawn anew from the normal law around the one observed: the Gaussian correction of
  /// Kumar et al.'s code, in closed form. It takes away about two fifths of the bias at perfect calibration.
  double ece_corrected = 0;
  /// Kumar, Liang and Ma (2019), definition 5.2: the mean squared distance less its sampling variance accuracy (1 - accuracy) / (n - 1).
  /// Without bias, so below 0 by chance. Bins of one item count as 0.
  double squared_debiased = 0;
  double rms_debiased = 0;  ///< sqrt(max(0, squared_debiased)), on the scale of a probability
};

CalibrationError calibration_error(std::span<const double> probabilities, std::span<const uint8_t> labels, int64_t n_bins = kCalibrationBins);

// Selective prediction: the most confident items are answered, a share `coverage` of all. Of items with equal scores all are as likely to
// be among them, so risks are linear in coverage between the scores that occur. Scores: finite, larger is surer; only their order counts.

/// Area under the generalized risk-coverage curve (Traub et al., arXiv 2407.01032): the mean over coverages of the share of all items that
/// are answered and wrong. In [0, 0.5]; error^2 / 2 at best. Equals (1 - AUROC) accuracy error + error^2 / 2.
double augrc(std::span<const double> scores, std::span<const uint8_t> labels);

/// Area under the risk-coverage curve (Geifman et al., 2019): the mean over coverages of the error among answered items, by trapezoids
/// between the distinct scores, the risk towards coverage 0 being that of the highest score. The most confident items weigh most.
double aurc(std::span<const double> scores, std::span<const uint8_t> labels);

/// Accuracy among the most confident items at a coverage in (0, 1]; 1 is the accuracy of all.
double accuracy_at_coverage(std::span<const double> scores, std::span<const uint8_t> labels, double coverage);

}  // namespace entrain::statistics
