#include "entrain/modalities/summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "entrain/base/error.h"
#include "entrain/base/format.h"
#include "entrain/base/json.h"

namespace entrain::modalities {
namespace {

using statistics::PairedTTest;

/// What a row is about.
struct Cell {
  std::string group, a, b;
  double share = 0;
  bool operator==(const Cell&) const = default;
};

/// One run's score of a cell.
struct Score {
  const Result* result;
  const PairScore* pair;
};

/// The cells in the order the results meet them, pairs together and shares ascending.
std::vector<Cell> cells_of(const std::vector<Result>& results) {
  std::vector<Cell> pairs, cells;
  std::vector<double> shares;
  for (const Result& r : results) {
    if (std::find(shares.begin(), shares.end(), r.run.share) == shares.end()) shares.push_back(r.run.share);
    for (const PairScore& s : r.outcome.scores) {
      const Cell pair{r.run.group(), s.a, s.b};
      if (std::find(pairs.begin(), pairs.end(), pair) == pairs.end()) pairs.push_back(pair);
    }
  }
  std::sort(shares.begin(), shares.end());
  for (Cell pair : pairs) {
    for (const double share : shares) {
      pair.share = share;
      cells.push_back(pair);
    }
  }
  return cells;
}

/// Scores of a cell under an arm, by seed.
std::map<int64_t, Score> scores_of(const std::vector<Result>& results, const Cell& cell, const std::string& arm) {
  std::map<int64_t, Score> scores;
  for (const Result& r : results) {
    if (r.run.arm != arm || r.run.share != cell.share || r.run.group() != cell.group) continue;
    for (const PairScore& s : r.outcome.scores) {
      if (s.a == cell.a && s.b == cell.b) scores[r.run.seed] = {&r, &s};
    }
  }
  return scores;
}

ArmRow mean_row(const Cell& cell, const std::string& arm, const std::map<int64_t, Score>& scores) {
  ArmRow row{cell.group, cell.a, cell.b, arm, cell.share, scores.begin()->second.result->outcome.n_paired, std::ssize(scores)};
  const double n = static_cast<double>(scores.size());
  for (const auto& [seed, score] : scores) {
    for (size_t k = 0; k < kRecallAt.size(); ++k) row.recall[k] += score.pair->recall(k) / n;
    row.reciprocal_rank += score.pair->reciprocal_rank() / n;
    row.gap += score.pair->gap / n;
    row.steps += static_cast<double>(score.result->outcome.n_steps) / n;
    row.flops += score.result->outcome.flops / n;
    row.seconds += score.result->outcome.seconds / n;
  }
  return row;
}

DifferenceRow difference_row(const Cell& cell, const std::string& arm, const std::map<int64_t, Score>& of_arm, const std::string& reference, const std::map<int64_t, Score>& of_reference) {
  DifferenceRow row{cell.group, cell.a, cell.b, arm, reference, cell.share, 0, {}, {}};
  std::array<std::vector<double>, 3> recall;
  std::vector<double> gap;
  for (const auto& [seed, score] : of_arm) {
    const auto other = of_reference.find(seed);
    if (other == of_reference.end()) continue;
    for (size_t k = 0; k < kRecallAt.size(); ++k) recall[k].push_back(score.pair->recall(k) - other->second.pair->recall(k));
    gap.push_back(score.pair->gap - other->second.pair->gap);
  }
  row.n_seeds = std::ssize(gap);
  if (gap.empty()) return row;
  for (size_t k = 0; k < kRecallAt.size(); ++k) row.recall[k] = statistics::paired_t_test(recall[k]);
  row.gap = statistics::paired_t_test(gap);
  return row;
}

/// A recall or a difference of recalls, in percent.
std::string percent(double value, bool sign = false) { return format(sign ? "%+.1f" : "%.1f", 100 * value); }

std::string interval(const PairedTTest& test) {
  if (!std::isfinite(test.mean.low)) return percent(test.mean.estimate, true) + " (one seed)";
  return percent(test.mean.estimate, true) + " (" + percent(test.mean.low, true) + " to " + percent(test.mean.high, true) + ")";
}

std::string title(const std::string& group, const std::string& a, const std::string& b) { return group == a + "+" + b ? group : a + ", " + b + " of " + group; }

OrderedJson interval_json(const PairedTTest& test) {
  OrderedJson json{{"mean", test.mean.estimate}, {"low", nullptr}, {"high", nullptr}, {"p", test.p}};
  if (std::isfinite(test.mean.low)) {
    json["low"] = test.mean.low;
    json["high"] = test.mean.high;
  }
  return json;
}

}  // namespace

Summary summarise(const std::vector<Result>& results) {
  ENTRAIN_CHECK(!results.empty(), "no results");
  Summary summary{results[0].items, results[0].held_out, results[0].batch, {}, {}};
  for (const Cell& cell : cells_of(results)) {
    std::vector<std::pair<std::string, std::map<int64_t, Score>>> arms;
    for (const std::string& arm : arm_names()) {
      auto scores = scores_of(results, cell, arm);
      if (!scores.empty()) arms.emplace_back(arm, std::move(scores));
    }
    for (size_t i = 0; i < arms.size(); ++i) {
      summary.arms.push_back(mean_row(cell, arms[i].first, arms[i].second));
      for (size_t j = i + 1; j < arms.size(); ++j) {
        if (const DifferenceRow row = difference_row(cell, arms[i].first, arms[i].second, arms[j].first, arms[j].second); row.n_seeds > 0) summary.differences.push_back(row);
      }
    }
  }
  return summary;
}

std::string Summary::to_json() const {
  OrderedJson json{{"items", items}, {"held_out", held_out}, {"batch", batch}, {"recall_at", kRecallAt}, {"chance", {chance(0, held_out), chance(1, held_out), chance(2, held_out)}},
            {"arms", OrderedJson::array()}, {"differences", OrderedJson::array()}};
  for (const ArmRow& r : arms) {
    json["arms"].push_back({{"group", r.group}, {"a", r.a}, {"b", r.b}, {"share", r.share}, {"n_paired", r.n_paired}, {"arm", r.arm}, {"seeds", r.n_seeds}, {"recall", r.recall},
                            {"reciprocal_rank", r.reciprocal_rank}, {"gap", r.gap}, {"steps", r.steps}, {"flops", r.flops}, {"seconds", r.seconds}});
  }
  for (const DifferenceRow& r : differences) {
    json["differences"].push_back({{"group", r.group}, {"a", r.a}, {"b", r.b}, {"arm", r.arm}, {"reference", r.reference}, {"share", r.share}, {"seeds", r.n_seeds},
                                   {"recall", {interval_json(r.recall[0]), interval_json(r.recall[1]), interval_json(r.recall[2])}}, {"gap", interval_json(r.gap)}});
  }
  return json.dump();
}

std::string Summary::to_markdown() const {
  std::string text = format("%lld training sentences, %lld held out; steps of %lld items. Recall in percent, the mean of both directions and of the seeds; chance is %.1f, %.1f and %.1f.\n\n",
                            static_cast<long long>(items), static_cast<long long>(held_out), static_cast<long long>(batch), 100 * chance(0, held_out),
                            100 * chance(1, held_out), 100 * chance(2, held_out));
  text += "| modalities | known pairs | arm | recall at 1 | at 5 | at 10 | mean reciprocal rank | gap | steps | FLOPs | seconds | seeds |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const ArmRow& r : arms) {
    text += format("| %s | %lld (%g %%) | %s | %s | %s | %s | %.3f | %.3f | %.0f | %.3g | %.0f | %lld |\n", title(r.group, r.a, r.b).c_str(), static_cast<long long>(r.n_paired), 100 * r.share, r.arm.c_str(),
                   percent(r.recall[0]).c_str(), percent(r.recall[1]).c_str(), percent(r.recall[2]).c_str(), r.reciprocal_rank, r.gap, r.steps, r.flops, r.seconds, static_cast<long long>(r.n_seeds));
  }
  if (differences.empty()) return text;
  text += "\nDifferences, paired by seed, with 95 % intervals of Student's t (percentage points; the gap as it is):\n\n"
          "| arms | modalities | known pairs | recall at 1 | at 5 | at 10 | gap | seeds |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n";
  std::vector<DifferenceRow> rows = differences;  // the same two arms together
  std::stable_sort(rows.begin(), rows.end(), [](const DifferenceRow& x, const DifferenceRow& y) { return std::tie(x.reference, x.arm) < std::tie(y.reference, y.arm); });
  for (const DifferenceRow& r : rows) {
    text += format("| %s - %s | %s | %g %% | %s | %s | %s | %+.3f | %lld |\n", r.arm.c_str(), r.reference.c_str(), title(r.group, r.a, r.b).c_str(), 100 * r.share, interval(r.recall[0]).c_str(), interval(r.recall[1]).c_str(),
                   interval(r.recall[2]).c_str(), r.gap.mean.estimate, static_cast<long long>(r.n_seeds));
  }
  return text;
}

}  // namespace entrain::modalities
