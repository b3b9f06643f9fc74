#include "entrain/statistics/auroc.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "entrain/base/error.h"
#include "entrain/statistics/contract.h"
#include "entrain/statistics/rank.h"
#include "entrain/statistics/tails.h"

namespace entrain::statistics {
namespace {

double mean_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()); }

/// Of the mean, from at least two values.
double squared_se(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size()), mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return squares / (n - 1) / n;
}

/// Hanley and McNeil's, at the true area `theta`.
double area_variance(double theta, double n_positive, double n_negative) {
  return theta * (1 - theta) * (1 + (n_positive - 1) * (1 - theta) / (2 - theta) + (n_negative - 1) * theta / (1 + theta)) / (n_positive * n_negative);
}

/// The area farthest from `area` towards `end` (0 or 1) whose own standard error still reaches it.
double score_limit(double area, double end, double width, double n_positive, double n_negative) {
  double reaches = area, fails = end;
  for (int i = 0; i < 100 && reaches != fails; ++i) {
    const double middle = (reaches + fails) / 2;
    (std::abs(area - middle) <= width * std::sqrt(area_variance(middle, n_positive, n_negative)) ? reaches : fails) = middle;
  }
  return reaches;
}

/// Items of one stratum that has both classes.
using Stratum = std::vector<uint32_t>;

struct Strata {
  std::vector<Stratum> strata;
  int64_t n_left_out = 0;
};

Strata split(std::span<const uint8_t> labels, std::span<const int64_t> strata) {
  ENTRAIN_CHECK(strata.empty() || strata.size() == labels.size(), std::to_string(strata.size()) + " strata of " + std::to_string(labels.size()) + " items");
  std::map<int64_t, Stratum> by_number;
  for (size_t i = 0; i < labels.size(); ++i) by_number[strata.empty() ? 0 : strata[i]].push_back(static_cast<uint32_t>(i));
  Strata result;
  for (auto& [number, items] : by_number) {
    const auto positive = [&](uint32_t i) { return labels[i] == 1; };
    if (std::any_of(items.begin(), items.end(), positive) && !std::all_of(items.begin(), items.end(), positive)) result.strata.push_back(std::move(items));
    else ++result.n_left_out;
  }
  return result;
}

/// Pairs within a stratum, and how many a score puts in the right order.
struct Pairs {
  double n = 0, concordant = 0;
  double area() const { return concordant / n; }
};

/// A score's order of each stratum's items, sorted once for all draws.
class SortedStrata {
 public:
  SortedStrata(const Strata& strata, std::span<const double> scores, std::span<const uint8_t> labels) : strata_(strata.strata), scores_(scores), labels_(labels) {
    for (Stratum& items : strata_) std::stable_sort(items.begin(), items.end(), [&](uint32_t i, uint32_t j) { return scores[i] < scores[j]; });
  }

  /// times: how often each item counts.
  Pairs pairs(const std::vector<double>& times) const {
    Pairs total;
    for (const Stratum& items : strata_) {
      double negatives = 0, positives = 0;
      for (size_t first = 0, last; first < items.size(); first = last) {
        double tied[2] = {0, 0};
        for (last = first; last < items.size() && scores_[items[last]] == scores_[items[first]]; ++last) tied[labels_[items[last]]] += times[items[last]];
        total.concordant += tied[1] * (negatives + tied[0] / 2);
        negatives += tied[0];
        positives += tied[1];
      }
      total.n += positives * negatives;
    }
    return total;
  }

 private:
  std::vector<Stratum> strata_;
  std::span<const double> scores_;
  std::span<const uint8_t> labels_;
};

void draw_times(const Strata& strata, RandomStream& random, std::vector<double>& times) {
  std::fill(times.begin(), times.end(), 0.0);
  for (const Stratum& items : strata.strata) {
    for (size_t i = 0; i < items.size(); ++i) times[items[random.next_below(items.size())]] += 1;
  }
}

/// statistic: of an item's times, for draws that leave a pair.
template <typename Statistic>
Interval bootstrap(const Strata& strata, size_t n_items, const SortedStrata& score, Statistic statistic, int64_t n_resamples, RandomStream random, double confidence) {
  std::vector<double> times(n_items, 1.0), resampled;
  const double estimate = statistic(times);
  for (int64_t draw = 0; draw < n_resamples; ++draw) {
    draw_times(strata, random, times);
    if (score.pairs(times).n > 0) resampled.push_back(statistic(times));
  }
  if (resampled.empty()) resampled.push_back(estimate);
  return percentile_interval(estimate, std::move(resampled), confidence);
}

}  // namespace

Auroc auroc(std::span<const double> scores, std::span<const uint8_t> labels, double confidence) {
  check_finite(scores);
  check_labels(labels, scores.size());
  const double width = normal_half_width(confidence);
  std::vector<double> by_class[2];
  for (size_t i = 0; i < scores.size(); ++i) by_class[labels[i]].push_back(scores[i]);
  const auto& [negatives, positives] = by_class;
  Auroc result;
  result.n_negative = static_cast<int64_t>(negatives.size());
  result.n_positive = static_cast<int64_t>(positives.size());
  if (negatives.empty() || positives.empty()) return result;

  // An item's rank among all less its rank in its own class counts the other class's items below it, ties half.
  const std::vector<double> ranks = mean_ranks(scores), own_ranks[2] = {mean_ranks(negatives), mean_ranks(positives)};
  const double n_negative = static_cast<double>(negatives.size()), n_positive = static_cast<double>(positives.size());
  std::vector<double> placements[2];
  for (size_t i = 0; i < scores.size(); ++i) {
    auto& own = placements[labels[i]];
    own.push_back((ranks[i] - own_ranks[labels[i]][own.size()]) / (labels[i] ? n_negative : n_positive));
  }
  const double area = std::clamp(mean_of(placements[1]), 0.0, 1.0);
  const bool single = negatives.size() == 1 || positives.size() == 1;
  const auto [least, greatest] = std::minmax_element(scores.begin(), scores.end());
  if (*least == *greatest) {
    result.auroc = {0.5, 0.5, 0.5};
  } else if (single || area == 0 || area == 1) {
    if (single) result.se = std::sqrt(area_variance(area, n_positive, n_negative));
    result.auroc = {area, score_limit(area, 0, width, n_positive, n_negative), score_limit(area, 1, width, n_positive, n_negative)};
  } else {
    result.se = std::sqrt(squared_se(placements[0]) + squared_se(placements[1]));
    const double logit = std::log(area / (1 - area)), half = width * result.se / (area * (1 - area));
    result.auroc = {area, 1 / (1 + std::exp(half - logit)), 1 / (1 + std::exp(-half - logit))};
  }
  return result;
}

StratifiedAuroc stratified_auroc(std::span<const double> scores, std::span<const uint8_t> labels,
                                 std::span<const int64_t> strata, int64_t n_resamples, RandomStream random, double confidence) {
  check_finite(scores);
  check_labels(labels, scores.size());
  check_confidence(confidence);
  ENTRAIN_CHECK(n_resamples > 0, "no resamples");
  const Strata both = split(labels, strata);
  StratifiedAuroc result;
  result.n_strata = static_cast<int64_t>(both.strata.size());
  result.n_strata_left_out = both.n_left_out;
  if (both.strata.empty()) return result;
  const SortedStrata score(both, scores, labels);
  result.n_pairs = static_cast<int64_t>(score.pairs(std::vector<double>(scores.size(), 1.0)).n);
  result.auroc = bootstrap(both, scores.size(), score, [&](const auto& times) { return score.pairs(times).area(); }, n_resamples, random, confidence);
  return result;
}

AurocDifference delta_auroc(std::span<const double> scores_a, std::span<const double> scores_b, std::span<const uint8_t> labels,
                            std::span<const int64_t> strata, int64_t n_resamples, RandomStream random, double confidence) {
  check_finite(scores_a);
  check_finite(scores_b);
  check_labels(labels, scores_a.size());
  check_labels(labels, scores_b.size());
  check_confidence(confidence);
  ENTRAIN_CHECK(n_resamples > 0, "no resamples");
  const Strata both = split(labels, strata);
  if (both.strata.empty()) return {};
  const SortedStrata a(both, scores_a, labels), b(both, scores_b, labels);
  const std::vector<double> once(labels.size(), 1.0);
  AurocDifference result;
  result.a = a.pairs(once).area();
  result.b = b.pairs(once).area();
  result.n_pairs = static_cast<int64_t>(a.pairs(once).n);
  result.difference = bootstrap(both, labels.size(), a, [&](const auto& times) { return a.pairs(times).area() - b.pairs(times).area(); }, n_resamples, random, confidence);
  return result;
}

}  // namespace entrain::statistics
