#include "entrain/statistics/selective.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "entrain/base/error.h"
#include "entrain/statistics/contract.h"

namespace entrain::statistics {
namespace {

void check_items(std::span<const double> scores, std::span<const uint8_t> labels) {
  ENTRAIN_CHECK(!scores.empty(), "no items");
  check_finite(scores);
  check_labels(labels, scores.size());
}

void check_probabilities(std::span<const double> probabilities, std::span<const uint8_t> labels) {
  check_items(probabilities, labels);
  for (const double p : probabilities) ENTRAIN_CHECK(p >= 0 && p <= 1, "a probability of " + std::to_string(p));
}

/// Items of the same score, side by side in `order`.
struct Run {
  size_t first, last;  // last is one past the end
};

struct Sorted {
  std::vector<size_t> order;  // ascending
  std::vector<Run> runs;
};

Sorted sort_into_runs(std::span<const double> scores) {
  Sorted sorted;
  sorted.order.resize(scores.size());
  std::iota(sorted.order.begin(), sorted.order.end(), size_t{0});
  std::sort(sorted.order.begin(), sorted.order.end(), [&](size_t i, size_t j) { return scores[i] < scores[j]; });
  for (size_t first = 0, last; first < scores.size(); first = last) {
    for (last = first + 1; last < scores.size() && scores[sorted.order[last]] == scores[sorted.order[first]];) ++last;
    sorted.runs.push_back({first, last});
  }
  return sorted;
}

/// A corner of the risk-coverage curve, in items: answered, and wrong among them.
struct Corner {
  double answered = 0, wrong = 0;
};

/// From nothing answered to all, with the distinct scores descending.
std::vector<Corner> corners(std::span<const double> scores, std::span<const uint8_t> labels) {
  const Sorted sorted = sort_into_runs(scores);
  std::vector<Corner> curve{{}};
  for (auto run = sorted.runs.rbegin(); run != sorted.runs.rend(); ++run) {
    Corner next = curve.back();
    for (size_t i = run->first; i < run->last; ++i) {
      next.answered += 1;
      next.wrong += labels[sorted.order[i]] ? 0 : 1;
    }
    curve.push_back(next);
  }
  return curve;
}

/// E|X| of a normal X.
double mean_magnitude(double mean, double sd) {
  if (sd == 0) return std::abs(mean);
  const double scaled = mean / sd;
  return sd * std::sqrt(2 / std::numbers::pi) * std::exp(-scaled * scaled / 2) + mean * std::erf(scaled / std::numbers::sqrt2);
}

}  // namespace

double brier(std::span<const double> probabilities, std::span<const uint8_t> labels) {
  check_probabilities(probabilities, labels);
  double squares = 0;
  for (size_t i = 0; i < labels.size(); ++i) squares += (probabilities[i] - labels[i]) * (probabilities[i] - labels[i]);
  return squares / static_cast<double>(labels.size());
}

std::vector<ReliabilityBin> reliability_bins(std::span<const double> probabilities, std::span<const uint8_t> labels, int64_t n_bins) {
  check_probabilities(probabilities, labels);
  ENTRAIN_CHECK(n_bins > 0, std::to_string(n_bins) + " bins");
  const size_t n = labels.size(), n_wanted = std::min(n, static_cast<size_t>(n_bins));
  const Sorted sorted = sort_into_runs(probabilities);
  std::vector<ReliabilityBin> all(n_wanted), filled;
  for (const Run& run : sorted.runs) {
    ReliabilityBin& bin = all[(run.first + (run.last - run.first - 1) / 2) * n_wanted / n];
    for (size_t i = run.first; i < run.last; ++i) {
      bin.n += 1;
      bin.n_correct += labels[sorted.order[i]];
      bin.confidence += probabilities[sorted.order[i]];
    }
  }
  for (ReliabilityBin& bin : all) {
    if (bin.n == 0) continue;
    bin.confidence /= static_cast<double>(bin.n);
    filled.push_back(bin);
  }
  return filled;
}

CalibrationError calibration_error(std::span<const double> probabilities, std::span<const uint8_t> labels, int64_t n_bins) {
  CalibrationError error;
  double expected = 0;
  for (const ReliabilityBin& bin : reliability_bins(probabilities, labels, n_bins)) {
    const double n = static_cast<double>(bin.n), share = n / static_cast<double>(labels.size());
    const double distance = bin.confidence - bin.accuracy(), spread = bin.accuracy() * (1 - bin.accuracy());
    error.ece += share * std::abs(distance);
    expected += share * mean_magnitude(distance, std::sqrt(spread / n));
    if (bin.n > 1) error.squared_debiased += share * (distance * distance - spread / (n - 1));
  }
  error.ece_corrected = 2 * error.ece - expected;
  error.rms_debiased = std::sqrt(std::max(0.0, error.squared_debiased));
  return error;
}

double augrc(std::span<const double> scores, std::span<const uint8_t> labels) {
  check_items(scores, labels);
  const std::vector<Corner> curve = corners(scores, labels);
  const double n = static_cast<double>(labels.size());
  double area = 0;
  for (size_t i = 1; i < curve.size(); ++i) area += (curve[i].answered - curve[i - 1].answered) / n * (curve[i].wrong + curve[i - 1].wrong) / (2 * n);
  return area;
}

double aurc(std::span<const double> scores, std::span<const uint8_t> labels) {
  check_items(scores, labels);
  const std::vector<Corner> curve = corners(scores, labels);
  const double n = static_cast<double>(labels.size());
  double area = 0, risk_before = curve[1].wrong / curve[1].answered;
  for (size_t i = 1; i < curve.size(); ++i) {
    const double risk = curve[i].wrong / curve[i].answered;
    area += (curve[i].answered - curve[i - 1].answered) / n * (risk + risk_before) / 2;
    risk_before = risk;
  }
  return area;
}

double accuracy_at_coverage(std::span<const double> scores, std::span<const uint8_t> labels, double coverage) {
  check_items(scores, labels);
  ENTRAIN_CHECK(coverage > 0 && coverage <= 1, "coverage " + std::to_string(coverage));
  const std::vector<Corner> curve = corners(scores, labels);
  const double answered = coverage * static_cast<double>(labels.size());
  size_t next = 1;
  while (next + 1 < curve.size() && curve[next].answered < answered) ++next;
  const Corner before = curve[next - 1], after = curve[next];
  const double wrong = before.wrong + (after.wrong - before.wrong) * (answered - before.answered) / (after.answered - before.answered);
  return std::clamp(1 - wrong / answered, 0.0, 1.0);
}

}  // namespace entrain::statistics
