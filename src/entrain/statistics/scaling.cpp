#include "entrain/statistics/scaling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "entrain/base/error.h"

namespace entrain::statistics {
namespace {

/// A non-increasing curve of loss against amount.
struct LossCurve {
  std::vector<double> amounts, losses;  // amounts ascending
};

/// Pool adjacent violators: the non-increasing values nearest to `losses` in weighted squares.
std::vector<double> non_increasing(const std::vector<double>& losses, const std::vector<double>& weights) {
  struct Pool {
    double mean, weight;
    size_t count;
  };
  std::vector<Pool> pools;
  for (size_t i = 0; i < losses.size(); ++i) {
    Pool pool{losses[i], weights[i], 1};
    while (!pools.empty() && pools.back().mean < pool.mean) {
      const Pool& last = pools.back();
      pool = {(last.mean * last.weight + pool.mean * pool.weight) / (last.weight + pool.weight), last.weight + pool.weight, last.count + pool.count};
      pools.pop_back();
    }
    pools.push_back(pool);
  }
  std::vector<double> fitted;
  for (const Pool& pool : pools) fitted.insert(fitted.end(), pool.count, pool.mean);
  return fitted;
}

LossCurve curve_of(const ScalingCells& cells, const std::vector<double>& means, size_t arm) {
  LossCurve curve;
  std::vector<double> losses, weights;
  for (size_t i = 0; i < cells.cells.size(); ++i) {
    const ScalingCell& cell = cells.cells[i];
    if (cell.arm != arm) continue;
    curve.amounts.push_back(cell.amount);
    losses.push_back(means[i]);
    weights.push_back(static_cast<double>(cell.losses.size()));
  }
  curve.losses = non_increasing(losses, weights);
  return curve;
}

AmountForLoss read_curve(const LossCurve& curve, double loss) {
  using Kind = AmountForLoss::Kind;
  const auto& [amounts, losses] = curve;
  if (amounts.size() < 2) return {};
  if (loss > losses.front()) return {Kind::kBelowLadder, amounts.front()};
  if (!(losses.back() < losses.front())) return {};
  const auto slope_before = [&](size_t i) { return (losses[i] - losses[i - 1]) / std::log(amounts[i] / amounts[i - 1]); };
  if (loss == losses.front()) return {Kind::kInterpolated, amounts.front()};
  for (size_t i = 1; i < amounts.size(); ++i) {
    if (loss >= losses[i]) return {Kind::kInterpolated, amounts[i] * std::exp((loss - losses[i]) / slope_before(i))};
  }
  size_t last = amounts.size() - 1;
  while (!(losses[last] < losses[last - 1])) --last;
  // A slope of rounding errors must not make infinity of it: 100 decades are as good, and still a lower bound.
  return {Kind::kExtrapolated, amounts.back() * std::exp(std::min((loss - losses.back()) / slope_before(last), 230.0))};
}

}  // namespace

ScalingCells ScalingCells::from(std::span<const ScalingPoint> points) {
  ENTRAIN_CHECK(!points.empty(), "no runs");
  std::map<std::pair<size_t, double>, std::map<int64_t, double>> runs;
  for (const ScalingPoint& point : points) {
    ENTRAIN_CHECK(point.amount > 0 && std::isfinite(point.amount) && std::isfinite(point.loss), "amount " + std::to_string(point.amount) + ", loss " + std::to_string(point.loss));
    const bool is_new = runs[{point.arm, point.amount}].emplace(point.seed, point.loss).second;
    ENTRAIN_CHECK(is_new, "seed " + std::to_string(point.seed) + " of arm " + std::to_string(point.arm) + " twice at " + std::to_string(point.amount));
  }
  ScalingCells table;
  std::map<std::vector<int64_t>, size_t> seed_sets;
  for (const auto& [key, by_seed] : runs) {
    ScalingCell cell{key.first, key.second, {}, 0};
    std::vector<int64_t> seeds;
    for (const auto& [seed, loss] : by_seed) {
      seeds.push_back(seed);
      cell.losses.push_back(loss);
    }
    const auto [found, is_new] = seed_sets.emplace(seeds, seed_sets.size());
    if (is_new) table.seed_set_sizes.push_back(seeds.size());
    cell.seed_set = found->second;
    table.single_runs |= seeds.size() == 1;
    table.cells.push_back(std::move(cell));
  }
  return table;
}

std::vector<double> ScalingCells::means() const {
  std::vector<double> result;
  for (const ScalingCell& cell : cells) {
    double sum = 0;
    for (const double loss : cell.losses) sum += loss;
    result.push_back(sum / static_cast<double>(cell.losses.size()));
  }
  return result;
}

std::vector<double> ScalingCells::resampled_means(RandomStream& random) const {
  std::vector<std::vector<size_t>> drawn;
  for (const size_t size : seed_set_sizes) {
    drawn.emplace_back();
    for (size_t i = 0; i < size; ++i) drawn.back().push_back(random.next_below(size));
  }
  std::vector<double> result;
  for (const ScalingCell& cell : cells) {
    double sum = 0;
    for (const size_t run : drawn[cell.seed_set]) sum += cell.losses[run];
    result.push_back(sum / static_cast<double>(cell.losses.size()));
  }
  return result;
}

AmountForLoss amount_for_loss(std::span<const ScalingPoint> points, double loss) {
  ENTRAIN_CHECK(std::isfinite(loss), "loss " + std::to_string(loss));
  if (points.empty()) return {};
  const ScalingCells cells = ScalingCells::from(points);
  ENTRAIN_CHECK(cells.cells.front().arm == cells.cells.back().arm, "runs of several arms");
  return read_curve(curve_of(cells, cells.means(), cells.cells.front().arm), loss);
}

IsoLossRatio iso_loss_ratio(std::span<const ScalingPoint> points, size_t reference_arm, size_t arm, int64_t n_resamples, RandomStream random, double confidence) {
  using Kind = AmountForLoss::Kind;
  ENTRAIN_CHECK(n_resamples > 0, "no resamples");
  std::vector<ScalingPoint> both;
  for (const ScalingPoint& point : points) {
    if (point.arm == arm || point.arm == reference_arm) both.push_back(point);
  }
  const ScalingCells cells = ScalingCells::from(both);
  const std::vector<double> means = cells.means();
  const LossCurve reference = curve_of(cells, means, reference_arm);
  ENTRAIN_CHECK(!reference.amounts.empty(), "no runs of the reference");
  IsoLossRatio result{{}, cells.single_runs};
  std::vector<size_t> rung_cells;
  for (size_t i = 0; i < cells.cells.size(); ++i) {
    if (cells.cells[i].arm != arm) continue;
    rung_cells.push_back(i);
    const AmountForLoss needed = read_curve(reference, means[i]);
    IsoLossRung rung{cells.cells[i].amount, means[i], needed.kind, {}};
    rung.ratio.estimate = needed.amount / rung.amount;
    result.rungs.push_back(rung);
  }
  ENTRAIN_CHECK(!rung_cells.empty(), "no runs of the arm");
  std::vector<std::vector<double>> ratios(rung_cells.size());
  for (int64_t draw = 0; draw < n_resamples; ++draw) {
    const std::vector<double> drawn = cells.resampled_means(random);
    const LossCurve curve = curve_of(cells, drawn, reference_arm);
    for (size_t i = 0; i < rung_cells.size(); ++i) {
      const AmountForLoss needed = read_curve(curve, drawn[rung_cells[i]]);
      IsoLossRung& rung = result.rungs[i];
      const double share = 1 / static_cast<double>(n_resamples);
      if (needed.kind == Kind::kExtrapolated) rung.share_extrapolated += share;
      if (needed.kind == Kind::kBelowLadder) rung.share_below_ladder += share;
      if (needed.kind == Kind::kUnknown) rung.share_unknown += share;
      else ratios[i].push_back(needed.amount / rung.amount);
    }
  }
  for (size_t i = 0; i < rung_cells.size(); ++i) {
    Interval& ratio = result.rungs[i].ratio;
    if (ratios[i].empty()) ratio = {ratio.estimate, 0, std::numeric_limits<double>::infinity()};
    else ratio = percentile_interval(ratio.estimate, std::move(ratios[i]), confidence);
  }
  return result;
}

}  // namespace entrain::statistics
