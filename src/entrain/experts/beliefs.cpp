#include "entrain/experts/beliefs.h"

#include <ATen/ATen.h>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/experts/logistic.h"

namespace entrain::experts {
namespace {

constexpr int64_t kLeastQuestions = 30;
constexpr int64_t kResamples = 2000;

/// A quantity of train and test questions, (n) and (m).
struct Values {
  Tensor train, test;
};

enum class Kind { kLogistic, kLinear };

/// A probe fitted on some training questions, as a function of states.
class Estimator {
 public:
  /// states, target: (n, C), (n) of all training questions, of which `fitted_on` are used.
  Estimator(const Tensor& states, const Tensor& target, const Tensor& fitted_on, Kind kind, double ridge) : kind_(kind) {
    const Tensor x = states.index_select(0, fitted_on), y = target.index_select(0, fitted_on).unsqueeze(1);
    probes_ = kind == Kind::kLogistic ? fit_logistic(x, y, ridge) : fit_linear(x, y, ridge);
  }

  Tensor operator()(const Tensor& states) const { return (kind_ == Kind::kLogistic ? probes_.predict(states) : probes_.scores(states)).squeeze(1); }
  Values operator()(const Values& states) const { return {(*this)(states.train), (*this)(states.test)}; }

 private:
  Kind kind_;
  Probes probes_;
};

/// The questions that the levels are regressed on.
Values on(const Values& values, const Tensor& questions) { return {values.train.index_select(0, questions), values.test}; }

/// Squared errors on the test questions of the regression of `target` on `columns` (none: its train mean), and on i's states too where they are given.
Tensor squared_errors(const Values& target, const std::vector<Values>& columns, const Values* states, double ridge) {
  std::vector<Tensor> train, test;
  for (const Values& column : columns) {
    train.push_back(column.train.unsqueeze(1));
    test.push_back(column.test.unsqueeze(1));
  }
  if (states != nullptr) {
    train.push_back(states->train);
    test.push_back(states->test);
  }
  if (train.empty()) return (target.test - target.train.mean()).square();
  const Probes probes = fit_linear(at::cat(train, 1), target.train.unsqueeze(1), ridge);
  return (target.test - probes.scores(at::cat(test, 1)).squeeze(1)).square();
}

/// R^2 with - R^2 without, and its spread over test questions.
statistics::Interval gain_of(const Tensor& with, const Tensor& without, const Tensor& target, RandomStream random) {
  const int64_t n = target.size(0);
  const double *a = with.data_ptr<double>(), *b = without.data_ptr<double>(), *y = target.data_ptr<double>();
  const auto gain = [&](const auto& pick) {
    double less = 0, sum = 0, squares = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t at = pick(k);
      less += b[at] - a[at];
      sum += y[at];
      squares += y[at] * y[at];
    }
    const double spread = squares - sum * sum / static_cast<double>(n);
    return spread > 1e-12 * squares ? less / spread : 0.0;  // a target that never changes holds nothing to know
  };
  std::vector<double> resampled;
  for (int64_t r = 0; r < kResamples; ++r) resampled.push_back(gain([&](int64_t) { return static_cast<int64_t>(random.next_below(static_cast<uint64_t>(n))); }));
  return statistics::percentile_interval(gain([](int64_t k) { return k; }), std::move(resampled), 0.95);
}

}  // namespace

BeliefOrder belief_order(const BeliefSheet& train, const BeliefSheet& test, uint64_t seed, double ridge) {
  const int64_t n = train.states_i.size(0);
  for (const BeliefSheet* sheet : {&train, &test}) {
    const int64_t rows = sheet->states_i.size(0);
    ENTRAIN_CHECK(rows > 0 && sheet->states_j.size(0) == rows && sheet->correct_i.size(0) == rows && sheet->correct_j.size(0) == rows, std::to_string(rows) + " questions");
  }
  ENTRAIN_CHECK(n >= kLeastQuestions, std::to_string(n) + " training questions");
  const auto values = [](const Tensor& a, const Tensor& b) { return Values{a.to(at::kDouble).contiguous(), b.to(at::kDouble).contiguous()}; };
  const Values of_i = values(train.states_i, test.states_i), of_j = values(train.states_j, test.states_j);
  const Values c_i = values(train.correct_i, test.correct_i), c_j = values(train.correct_j, test.correct_j);
  // Thirds of the training questions: what is estimated of right and wrong, what is estimated of estimates, and the comparison of levels. So all values that are compared
  // come from probes that saw neither their questions nor each other's errors, on the last third as on the test questions.
  RandomStream random = stream(seed, "beliefs/thirds");
  std::vector<std::vector<int64_t>> thirds(3);
  const std::vector<uint32_t> order = permutation(random, static_cast<uint32_t>(n));
  for (size_t k = 0; k < order.size(); ++k) thirds[k % 3].push_back(order[k]);
  const Tensor first = at::tensor(thirds[0]), second = at::tensor(thirds[1]), last = at::tensor(thirds[2]);
  const auto of_outcome = [&](const Values& states, const Values& correct) { return Estimator(states.train, correct.train, first, Kind::kLogistic, ridge)(states); };
  const auto of_estimate = [&](const Values& states, const Values& estimate) { return Estimator(states.train, estimate.train, second, Kind::kLinear, ridge)(states); };

  const Values own = of_outcome(of_i, c_i), e1 = of_outcome(of_i, c_j);                         // levels 0 and 1
  const Values j_of_i = of_outcome(of_j, c_i), j_of_e1 = of_estimate(of_j, e1);                 // what levels 2 and 3 are about
  const Values e2 = of_estimate(of_i, j_of_i);

  BeliefOrder out;
  std::vector<Values> lower;
  for (int64_t level = 1; level <= 3; ++level) {
    const Values target = on(level == 1 ? c_j : level == 2 ? j_of_i : j_of_e1, last), states = on(of_i, last);
    std::vector<Values> with_self = lower;
    with_self.push_back(on(c_i, last));
    with_self.push_back(on(own, last));
    BeliefLevel& result = out.levels[static_cast<size_t>(level - 1)];
    result.level = level;
    const Tensor y = target.test.contiguous();
    const Tensor without = squared_errors(target, lower, nullptr, ridge), with = squared_errors(target, lower, &states, ridge);
    const double spread = (y - y.mean()).square().sum().item<double>();
    if (spread > 0) {
      result.r2 = 1 - with.sum().item<double>() / spread;
      result.r2_lower = 1 - without.sum().item<double>() / spread;
    }
    result.gain = gain_of(with, without, y, stream(seed, "beliefs/bootstrap", static_cast<uint64_t>(level)));
    result.gain_self = gain_of(squared_errors(target, with_self, &states, ridge), squared_errors(target, with_self, nullptr, ridge), y,
                               stream(seed, "beliefs/bootstrap_self", static_cast<uint64_t>(level)));
    result.known = result.gain.low > 0;
    result.known_beyond_self = result.gain_self.low > 0;
    if (result.known) out.depth = level;
    if (result.known_beyond_self) out.depth_beyond_self = level;
    lower.push_back(target);
    lower.push_back(on(level == 1 ? e1 : e2, last));
  }
  return out;
}

}  // namespace entrain::experts
