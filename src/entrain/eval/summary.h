#pragma once
// From scores of items to metrics with standard errors. Formulas are those of lm-evaluation-harness (api/metrics.py) where it has one.

#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::eval {

struct ItemScore {
  std::string id = {}, group = {};
  std::vector<double> values = {};           ///< one a column of the task; NaN where a column does not concern the item
  std::vector<double> log_likelihoods = {};  ///< of each continuation, nats
  std::vector<bool> greedy = {};             ///< of each continuation
  std::vector<std::string> texts = {};       ///< of a generation: the text, then what each filter took from it
};

struct Metric {
  std::string name;
  double value = 0, standard_error = 0;
  std::optional<double> chance = {};  ///< value of a model that knows nothing; unset: there is none
  bool distinguishable = true;    ///< two-sided at 5 % from chance; true where there is no chance level
  int64_t n = 0;                  ///< items, or the units it is a mean of
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;  ///< 95 % Wilson interval of a share; NaN otherwise

  bool above_chance() const { return chance && distinguishable && value > *chance; }
};

/// Items of a task, or a part of them, by column.
class Table {
 public:
  Table(std::vector<std::string> columns, std::span<const ItemScore> items);

  /// Values of a column without NaN, in the order of the items.
  std::vector<double> column(std::string_view name) const;
  /// Pairs of two columns where neither is NaN.
  std::pair<std::vector<double>, std::vector<double>> columns(std::string_view a, std::string_view b) const;
  /// Items by group, in the order of the names.
  std::map<std::string, Table> by_group() const;
  /// Items whose column is `value`.
  Table where(std::string_view name, double value) const;
  const std::vector<const ItemScore*>& items() const { return items_; }

 private:
  size_t index(std::string_view name) const;
  std::vector<std::string> columns_;
  std::vector<const ItemScore*> items_;
};

double mean(std::span<const double> values);
/// sd / sqrt(n) with n - 1 in the sd; NaN for fewer than two values.
double standard_error(std::span<const double> values);

/// Mean of a column. Without chance: nothing to compare with.
Metric mean_metric(const std::string& name, std::span<const double> values);
/// Mean of a column compared with chance: exact binomial for zeros and ones (with a Wilson interval), else two standard errors (1.96).
Metric mean_metric(const std::string& name, std::span<const double> values, double chance);
/// sum a / sum b, standard error by linearisation.
Metric ratio_metric(const std::string& name, std::span<const double> a, std::span<const double> b);
/// Mean over all items; standard error of lm-evaluation-harness' groups weighted by size: pooled over the groups' own.
Metric pooled_metric(const std::string& name, const Table& table, std::string_view column, double chance);
/// Mean over groups of the groups' means; standard error of the harness' unweighted groups: the groups are fixed, their items drawn.
Metric group_mean_metric(const std::string& name, const Table& table, std::string_view column, double chance);
/// The same mean with the groups drawn too: their means are the observations.
Metric clustered_metric(const std::string& name, const Table& table, std::string_view column, double chance);
/// exp(-mean), standard error by 10,000 bootstrap draws (a fixed stream).
Metric perplexity_metric(const std::string& name, std::span<const double> log_likelihoods);

}  // namespace entrain::eval
