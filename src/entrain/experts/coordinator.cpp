#include "entrain/experts/coordinator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/experts/awareness.h"

namespace entrain::experts {
namespace {

constexpr double kTieBreak = 1e-9;  // least price at which the oracle prefers the cheaper of two right answers

/// Costs of single answers in units of the dearest expert's mean: (N, n).
Tensor unit_cost(const Sheet& sheet) { return sheet.cost / sheet.cost.mean(1).max(); }

/// What reading a question costs the cheapest expert: all of its direct answer but the answer's own two tokens, (n).
Tensor reading_cost(const Sheet& sheet) {
  const Answers& first = sheet.answers[static_cast<size_t>(sheet.cheapest())];
  std::vector<double> share;
  for (size_t q = 0; q < sheet.lengths.size(); ++q) share.push_back(static_cast<double>(sheet.lengths[q]) / static_cast<double>(sheet.lengths[q] + first.n_tokens[q]));
  return unit_cost(sheet)[sheet.cheapest()] * at::tensor(share, at::kDouble);
}

Routing from_choices(const Sheet& sheet, const Tensor& chosen, bool charge_reading) {
  const Tensor index = chosen.unsqueeze(0);
  Routing routing;
  routing.chosen.assign(chosen.const_data_ptr<int64_t>(), chosen.const_data_ptr<int64_t>() + chosen.numel());
  routing.correct = sheet.correct.gather(0, index).squeeze(0);
  routing.cost = unit_cost(sheet).gather(0, index).squeeze(0);
  if (charge_reading) routing.cost = routing.cost + at::where(chosen == sheet.cheapest(), at::zeros_like(routing.cost), reading_cost(sheet));
  std::vector<Tensor> answers;
  for (const Answers& one : sheet.answers) answers.push_back(one.failure.empty() ? one.choice : at::zeros({sheet.n()}, at::kLong));
  routing.answer = at::stack(answers).gather(0, index).squeeze(0);
  return routing;
}

Routing from_answers(const Sheet& sheet, const Tensor& answer, const Tensor& cost) {
  return {std::vector<int64_t>(static_cast<size_t>(sheet.n()), -1), answer, (answer == sheet.truth).to(at::kDouble), cost};
}

Tensor usable_penalty(const Sheet& sheet) {
  std::vector<double> penalty;
  for (const bool usable : sheet.usable) penalty.push_back(usable ? 0.0 : -std::numeric_limits<double>::infinity());
  return at::tensor(penalty, at::kDouble);
}

Tensor normalised_rows(const Tensor& x) { return x / x.norm(2, 1, true).clamp_min(1e-9); }

}  // namespace

double Routing::accuracy() const { return correct.mean().item<double>(); }
double Routing::mean_cost() const { return cost.mean().item<double>(); }

std::vector<double> Routing::shares(int64_t n_experts) const {
  std::vector<double> shares(static_cast<size_t>(n_experts), 0.0);
  for (const int64_t j : chosen) {
    if (j >= 0) shares[static_cast<size_t>(j)] += 1.0 / static_cast<double>(chosen.size());
  }
  return shares;
}

const Tensor& router_features(const Sheet& sheet) { return sheet.answers[static_cast<size_t>(sheet.cheapest())].before; }

std::vector<int64_t> by_cost(const Sheet& sheet) {
  const Tensor cost = sheet.cost.mean(1);
  std::vector<int64_t> order;
  for (int64_t j = 0; j < sheet.n_experts(); ++j) {
    if (sheet.usable[static_cast<size_t>(j)]) order.push_back(j);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return cost[a].item<double>() < cost[b].item<double>(); });
  return order;
}

Coordinator Coordinator::fit(const Sheet& sheet) {
  Coordinator coordinator;
  coordinator.probes_ = fit_logistic(router_features(sheet), sheet.correct.t());
  return coordinator;
}

Routing Coordinator::route(const Sheet& sheet, double lambda) const { return route_by(sheet, predict(router_features(sheet)), lambda, /*charge_reading=*/true); }

model::NamedTensors Coordinator::state() const { return {{"coordinator.weight", probes_.weight}, {"coordinator.bias", probes_.bias}}; }

Coordinator Coordinator::from(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  Coordinator coordinator;
  for (const auto& [name, tensor] : tensors) {
    if (name == "coordinator.weight") coordinator.probes_.weight = tensor;
    if (name == "coordinator.bias") coordinator.probes_.bias = tensor;
  }
  if (!coordinator.probes_.weight.defined() || !coordinator.probes_.bias.defined()) throw Error(ErrorKind::kData, "the pool has no coordinator", "train the pool again: entrain experts train");
  return coordinator;
}

Tensor nearest_neighbour_correctness(const Sheet& known, const Sheet& sheet, int64_t k) {
  const Tensor keys = normalised_rows(router_features(known)), queries = normalised_rows(router_features(sheet));
  std::vector<Tensor> parts;
  for (const Tensor& some : queries.split(512)) {
    const Tensor nearest = std::get<1>(at::matmul(some, keys.t()).topk(std::min(k, keys.size(0)), 1));  // (m, k)
    parts.push_back(known.correct.t().index_select(0, nearest.flatten()).view({some.size(0), -1, known.n_experts()}).mean(1));
  }
  return at::cat(parts);
}

Routing route_by(const Sheet& sheet, const Tensor& p_correct, double lambda, bool charge_reading) {
  const Tensor value = p_correct - lambda * sheet.relative_cost() + usable_penalty(sheet);
  return from_choices(sheet, value.argmax(1), charge_reading);
}

FixedRule FixedRule::tune(const Sheet& sheet, double lambda) {
  FixedRule rule;
  rule.order_ = by_cost(sheet);
  const Tensor utility = sheet.correct - lambda * unit_cost(sheet);  // (N, n)
  const size_t n_cuts = rule.order_.size() - 1;
  std::vector<int64_t> sorted = sheet.lengths;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> candidates = {0, sorted.back()};
  for (size_t decile = 1; decile < 20; ++decile) candidates.push_back(sorted[sorted.size() * decile / 20]);
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  // Best thresholds by dynamic programming over the candidates: bins of prompts, experts in order of cost.
  const size_t m = candidates.size();
  std::vector<std::vector<double>> value(rule.order_.size(), std::vector<double>(m, 0.0));  // value[k][c]: utility of expert k on lengths <= candidates[c]
  for (size_t k = 0; k < rule.order_.size(); ++k) {
    const Tensor row = utility[rule.order_[k]].contiguous();
    const double* of = row.const_data_ptr<double>();
    for (size_t q = 0; q < sheet.lengths.size(); ++q) {
      for (size_t c = 0; c < m; ++c) value[k][c] += sheet.lengths[q] <= candidates[c] ? of[q] : 0.0;
    }
  }
  std::vector<std::vector<size_t>> from(rule.order_.size(), std::vector<size_t>(m, 0));
  std::vector<double> best = value[0];
  for (size_t k = 1; k < rule.order_.size(); ++k) {
    std::vector<double> next(m, -std::numeric_limits<double>::infinity());
    for (size_t c = 0; c < m; ++c) {
      for (size_t b = 0; b <= c; ++b) {
        const double total = best[b] + value[k][c] - value[k][b];
        if (total > next[c]) {
          next[c] = total;
          from[k][c] = b;
        }
      }
    }
    best = next;
  }
  rule.thresholds_.resize(n_cuts);
  size_t at_candidate = m - 1;
  for (size_t k = n_cuts; k > 0; --k) {
    at_candidate = from[k][at_candidate];
    rule.thresholds_[k - 1] = candidates[at_candidate];
  }
  const double by_length = best[m - 1];
  // The table by family.
  std::map<std::string, std::vector<int64_t>> places;
  for (size_t q = 0; q < sheet.questions.size(); ++q) places[sheet.questions[q].item.family].push_back(static_cast<int64_t>(q));
  double by_family = 0;
  std::vector<std::pair<std::string, int64_t>> table;
  for (const auto& [family, some] : places) {
    const Tensor sums = utility.index_select(1, at::tensor(some)).sum(1) + usable_penalty(sheet);
    table.emplace_back(family, sums.argmax().item<int64_t>());
    by_family += sums.max().item<double>();
  }
  if (by_family > by_length) rule.by_family_ = std::move(table);
  return rule;
}

Routing FixedRule::route(const Sheet& sheet) const {
  std::vector<int64_t> chosen;
  for (size_t q = 0; q < sheet.questions.size(); ++q) {
    size_t k = 0;
    while (k < thresholds_.size() && sheet.lengths[q] > thresholds_[k]) ++k;
    int64_t expert = order_[k];
    for (const auto& [family, j] : by_family_) {
      if (family == sheet.questions[q].item.family) expert = j;
    }
    chosen.push_back(expert);
  }
  return from_choices(sheet, at::tensor(chosen), false);
}

std::string FixedRule::describe(const Sheet& sheet) const {
  std::string text;
  for (const auto& [family, j] : by_family_) text += (text.empty() ? "" : ", ") + family + ": " + sheet.names[static_cast<size_t>(j)];
  if (!text.empty()) return "by family: " + text;
  for (size_t k = 0; k < order_.size(); ++k) {
    text += (k == 0 ? "" : ", ") + sheet.names[static_cast<size_t>(order_[k])] + (k < thresholds_.size() ? " up to " + std::to_string(thresholds_[k]) + " tokens" : " beyond");
  }
  return "by length: " + text;
}

Routing Cascade::route(const Sheet& sheet) const {
  const std::vector<int64_t> order = by_cost(sheet);
  const Tensor unit = unit_cost(sheet);
  Tensor chosen = at::full({sheet.n()}, order.back(), at::kLong), open = at::ones({sheet.n()}, at::kBool);
  Tensor cost = at::zeros({sheet.n()}, at::kDouble);
  for (size_t k = 0; k < order.size(); ++k) {
    cost = cost + unit[order[k]] * open;
    if (k + 1 == order.size()) break;
    const Tensor stops = at::logical_and(open, -negative_entropy(sheet.answers[static_cast<size_t>(order[k])]) <= thresholds_[std::min(k, thresholds_.size() - 1)]);
    chosen = at::where(stops, at::full_like(chosen, order[k]), chosen);
    open = at::logical_and(open, stops.logical_not());
  }
  Routing routing = from_choices(sheet, chosen, false);
  routing.cost = cost;
  return routing;
}

Cascade Cascade::tune(const Sheet& sheet, double lambda) {
  const std::vector<int64_t> order = by_cost(sheet);
  Cascade best({0.0});
  if (order.size() < 2) return best;
  std::vector<double> thresholds(order.size() - 1, 0.1);
  double best_utility = -std::numeric_limits<double>::infinity();
  for (int sweep = 0; sweep < 3; ++sweep) {  // coordinate search
    for (double& threshold : thresholds) {
      double kept = threshold;
      for (const double candidate : {-1.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4, 3.0}) {
        threshold = candidate;
        const double utility = Cascade(thresholds).route(sheet).utility(lambda);
        if (utility > best_utility) {
          best_utility = utility;
          kept = candidate;
        }
      }
      threshold = kept;
    }
  }
  best.thresholds_ = thresholds;
  return best;
}

Routing always(const Sheet& sheet, int64_t expert) { return from_choices(sheet, at::full({sheet.n()}, expert, at::kLong), false); }

Routing at_random(const Sheet& sheet, uint64_t seed) {
  const std::vector<int64_t> order = by_cost(sheet);
  RandomStream random = stream(seed, "router/random");
  std::vector<int64_t> chosen;
  for (int64_t q = 0; q < sheet.n(); ++q) chosen.push_back(order[random.next_below(order.size())]);
  return from_choices(sheet, at::tensor(chosen), false);
}

Routing oracle(const Sheet& sheet, double lambda) {
  const Tensor value = (sheet.correct - std::max(lambda, kTieBreak) * unit_cost(sheet)).t() + usable_penalty(sheet);  // (n, N)
  return from_choices(sheet, value.argmax(1), false);
}

Routing majority_vote(const Sheet& sheet) {
  Tensor votes = at::zeros({sheet.n(), static_cast<int64_t>(kAnswers)}, at::kDouble);
  Tensor cost = at::zeros({sheet.n()}, at::kDouble);
  const Tensor unit = unit_cost(sheet);
  for (const int64_t j : by_cost(sheet)) {
    const Answers& one = sheet.answers[static_cast<size_t>(j)];
    votes = votes + at::one_hot(one.choice, static_cast<int64_t>(kAnswers)) + one.probabilities.to(at::kDouble) * 1e-3;
    cost = cost + unit[j];
  }
  return from_answers(sheet, votes.argmax(1), cost);
}

Routing blend(const Sheet& sheet, const std::vector<double>& weights) {
  ENTRAIN_CHECK(std::ssize(weights) == sheet.n_experts(), "weights of " + std::to_string(weights.size()) + " experts");
  Tensor mixture = at::zeros({sheet.n(), static_cast<int64_t>(kAnswers)}, at::kDouble), cost = at::zeros({sheet.n()}, at::kDouble);
  const Tensor unit = unit_cost(sheet);
  const std::vector<int64_t> order = by_cost(sheet);
  const bool any = std::any_of(order.begin(), order.end(), [&](int64_t j) { return weights[static_cast<size_t>(j)] > 0; });
  for (const int64_t j : order) {
    const double weight = any ? weights[static_cast<size_t>(j)] : 1.0;
    if (weight <= 0) continue;
    mixture = mixture + sheet.answers[static_cast<size_t>(j)].probabilities.to(at::kDouble) * weight;
    cost = cost + unit[j];
  }
  return from_answers(sheet, mixture.argmax(1), cost);
}

std::vector<double> learn_blend(const Sheet& sheet) {
  const std::vector<int64_t> order = by_cost(sheet);
  std::vector<Tensor> likelihoods;
  for (const int64_t j : order) likelihoods.push_back(sheet.answers[static_cast<size_t>(j)].probabilities.gather(1, sheet.truth.unsqueeze(1)).squeeze(1).to(at::kDouble).clamp_min(1e-9));
  const Tensor p = at::stack(likelihoods, 1);  // (n, usable)
  Tensor w = at::full({p.size(1)}, 1.0 / static_cast<double>(p.size(1)), at::kDouble);
  for (int i = 0; i < 200; ++i) {
    const Tensor joint = p * w;
    w = (joint / joint.sum(1, true)).mean(0);
  }
  std::vector<double> weights(static_cast<size_t>(sheet.n_experts()), 0.0);
  for (size_t k = 0; k < order.size(); ++k) weights[static_cast<size_t>(order[k])] = w[static_cast<int64_t>(k)].item<double>();
  return weights;
}

Routing self_ensemble(const Sheet& sheet, const Sheet& other, int64_t expert) {
  const auto j = static_cast<size_t>(expert);
  const Tensor mixture = sheet.answers[j].probabilities + other.answers[j].probabilities;
  return from_answers(sheet, mixture.argmax(1), (sheet.cost[expert] + other.cost[expert]) / sheet.cost.mean(1).max());
}

double lambda_for_cost(const Sheet& sheet, const Tensor& p_correct, bool charge_reading, double cost) {
  if (route_by(sheet, p_correct, 0, charge_reading).mean_cost() <= cost) return 0;
  double low = 0, high = 1;
  while (high < 1e6 && route_by(sheet, p_correct, high, charge_reading).mean_cost() > cost) high *= 4;
  for (int i = 0; i < 40; ++i) {
    const double middle = 0.5 * (low + high);
    (route_by(sheet, p_correct, middle, charge_reading).mean_cost() > cost ? low : high) = middle;
  }
  return high;
}

}  // namespace entrain::experts
