#include "entrain/eval/summary.h"

#include <algorithm>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/statistics/hypothesis.h"

namespace entrain::eval {
namespace {

constexpr double kTwoSided = 1.959963984540054;  // normal quantile of 0.975
constexpr int64_t kBootstrapDraws = 10000;

bool is_share(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; });
}

int64_t n_ones(const Metric& metric) { return std::llround(metric.value * static_cast<double>(metric.n)); }

}  // namespace

Table::Table(std::vector<std::string> columns, std::span<const ItemScore> items) : columns_(std::move(columns)) {
  for (const ItemScore& item : items) items_.push_back(&item);
}

size_t Table::index(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  ENTRAIN_CHECK(found != columns_.end(), "no column " + std::string(name));
  return static_cast<size_t>(found - columns_.begin());
}

std::vector<double> Table::column(std::string_view name) const {
  const size_t i = index(name);
  std::vector<double> out;
  for (const ItemScore* item : items_) {
    if (!std::isnan(item->values[i])) out.push_back(item->values[i]);
  }
  return out;
}

std::pair<std::vector<double>, std::vector<double>> Table::columns(std::string_view a, std::string_view b) const {
  const size_t i = index(a), j = index(b);
  std::pair<std::vector<double>, std::vector<double>> out;
  for (const ItemScore* item : items_) {
    if (std::isnan(item->values[i]) || std::isnan(item->values[j])) continue;
    out.first.push_back(item->values[i]);
    out.second.push_back(item->values[j]);
  }
  return out;
}

std::map<std::string, Table> Table::by_group() const {
  std::map<std::string, Table> out;
  for (const ItemScore* item : items_) out.try_emplace(item->group, Table(columns_, {})).first->second.items_.push_back(item);
  return out;
}

Table Table::where(std::string_view name, double value) const {
  const size_t i = index(name);
  Table out(columns_, {});
  std::copy_if(items_.begin(), items_.end(), std::back_inserter(out.items_), [&](const ItemScore* item) { return item->values[i] == value; });
  return out;
}

double mean(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()); }

double standard_error(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  if (n < 2) return std::numeric_limits<double>::quiet_NaN();
  const double centre = mean(values);
  double squares = 0;
  for (const double v : values) squares += (v - centre) * (v - centre);
  return std::sqrt(squares / (n - 1) / n);
}

Metric mean_metric(const std::string& name, std::span<const double> values) {
  Metric metric{.name = name, .value = mean(values), .standard_error = standard_error(values), .n = std::ssize(values)};
  if (!values.empty() && is_share(values)) {
    const statistics::Interval interval = statistics::wilson_interval(n_ones(metric), metric.n);
    metric.low = interval.low;
    metric.high = interval.high;
  }
  return metric;
}

Metric mean_metric(const std::string& name, std::span<const double> values, double chance) {
  Metric metric = mean_metric(name, values);
  metric.chance = chance;
  if (values.empty()) {
    metric.distinguishable = false;
  } else if (is_share(values)) {
    metric.distinguishable = statistics::binomial_test(n_ones(metric), metric.n, chance) < 0.05;
  } else {
    metric.distinguishable = std::abs(metric.value - chance) > kTwoSided * metric.standard_error;
  }
  return metric;
}

Metric ratio_metric(const std::string& name, std::span<const double> a, std::span<const double> b) {
  const double ratio = mean(a) / mean(b);
  std::vector<double> residuals(a.size());
  for (size_t i = 0; i < a.size(); ++i) residuals[i] = (a[i] - ratio * b[i]) / mean(b);
  return {.name = name, .value = ratio, .standard_error = standard_error(residuals), .n = std::ssize(a)};
}

Metric pooled_metric(const std::string& name, const Table& table, std::string_view column, double chance) {
  Metric metric = mean_metric(name, table.column(column), chance);
  double squares = 0, n = 0, k = 0;
  for (const auto& [group, part] : table.by_group()) {
    const std::vector<double> values = part.column(column);
    const auto size = static_cast<double>(values.size());
    if (size > 1) squares += (size - 1) * std::pow(standard_error(values), 2) * size;
    n += size;
    k += 1;
  }
  metric.standard_error = std::sqrt(squares / (n - k) / n);
  return metric;
}

Metric group_mean_metric(const std::string& name, const Table& table, std::string_view column, double chance) {
  Metric metric = mean_metric(name, table.column(column), chance);
  std::vector<double> means;
  double squares = 0;
  for (const auto& [group, part] : table.by_group()) {
    const std::vector<double> values = part.column(column);
    means.push_back(mean(values));
    squares += std::pow(standard_error(values), 2);
  }
  metric.value = mean(means);
  metric.standard_error = std::sqrt(squares) / static_cast<double>(means.size());
  metric.low = metric.high = std::numeric_limits<double>::quiet_NaN();  // no share of one population
  return metric;
}

Metric clustered_metric(const std::string& name, const Table& table, std::string_view column, double chance) {
  std::vector<double> means;
  for (const auto& [group, part] : table.by_group()) means.push_back(mean(part.column(column)));
  Metric metric{.name = name, .value = mean(means), .standard_error = standard_error(means), .chance = chance, .n = std::ssize(means)};
  metric.distinguishable = std::abs(metric.value - chance) > kTwoSided * metric.standard_error;
  return metric;
}

Metric perplexity_metric(const std::string& name, std::span<const double> log_likelihoods) {
  Metric metric{.name = name, .value = std::exp(-mean(log_likelihoods)), .n = std::ssize(log_likelihoods)};
  RandomStream random = stream(0, "eval/bootstrap");
  double sum = 0, squares = 0;
  for (int64_t draw = 0; draw < kBootstrapDraws; ++draw) {
    double total = 0;
    for (size_t i = 0; i < log_likelihoods.size(); ++i) total += log_likelihoods[random.next_below(log_likelihoods.size())];
    // Relative to the value: a draw of a bad model's perplexity can be beyond the squares a double holds.
    const double relative = std::exp(-total / static_cast<double>(log_likelihoods.size())) / metric.value - 1;
    sum += relative;
    squares += relative * relative;
  }
  const auto n = static_cast<double>(kBootstrapDraws);
  metric.standard_error = metric.value * std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1)));
  return metric;
}

}  // namespace entrain::eval
