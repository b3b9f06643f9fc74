#pragma once
// Sheets without models: who is right, what it costs and what is known of each question are given.

#include <ATen/ATen.h>

#include "entrain/base/random.h"
#include "entrain/experts/coordinator.h"

namespace entrain::experts {

/// What an expert answers where it is right, and where it is wrong: wrong answers differ from expert to expert.
inline int64_t planted_answer(int64_t truth, size_t expert, bool right) { return right ? truth : (truth + 1 + static_cast<int64_t>(expert)) % static_cast<int64_t>(kAnswers); }

/// Expert j is right on question q where right(q, j), and costs costs[j] FLOPs each time. features: (n, C), every expert's state before and after.
/// Its answer has probability 0.7, the others share the rest; prompts have 10 tokens, answers 2; families a and b take turns, depths are 1 to 3.
inline Sheet planted_sheet(const Tensor& features, const std::vector<double>& costs, const std::function<bool(int64_t, size_t)>& right, uint64_t seed = 1) {
  Sheet sheet;
  const int64_t n = features.size(0);
  RandomStream random = stream(seed, "test/planted");
  std::vector<int64_t> truth;
  for (int64_t q = 0; q < n; ++q) {
    truth.push_back(static_cast<int64_t>(random.next_below(kAnswers)));
    reasoning::Item item;
    item.family = q % 2 == 0 ? "a" : "b";
    item.depth = 1 + q % 3;
    item.symbolic = "x" + std::to_string(q);
    item.answer = reasoning::kAnswers[static_cast<size_t>(truth.back())];
    sheet.questions.push_back({item, q % 5 == 0});
    sheet.lengths.push_back(10);
  }
  sheet.truth = at::tensor(truth);
  std::vector<Tensor> correct, cost;
  for (size_t j = 0; j < costs.size(); ++j) {
    std::vector<int64_t> choice;
    for (int64_t q = 0; q < n; ++q) choice.push_back(planted_answer(truth[static_cast<size_t>(q)], j, right(q, j)));
    Answers answers;
    answers.choice = at::tensor(choice);
    answers.probabilities = (at::one_hot(answers.choice, static_cast<int64_t>(kAnswers)) * (0.7 - 0.025) + 0.025).to(at::kFloat);
    answers.mass = at::ones({n});
    answers.before = answers.after = features.to(at::kFloat);
    answers.n_tokens.assign(static_cast<size_t>(n), 2);
    answers.flops.assign(static_cast<size_t>(n), costs[j]);
    sheet.names.push_back("expert " + std::to_string(j));
    correct.push_back((answers.choice == sheet.truth).to(at::kDouble));
    cost.push_back(at::full({n}, costs[j], at::kDouble));
    sheet.answers.push_back(std::move(answers));
    sheet.usable.push_back(true);
  }
  sheet.correct = at::stack(correct);
  sheet.cost = at::stack(cost);
  return sheet;
}

/// As make_sheet() leaves an expert that failed.
inline void fail(Sheet& sheet, size_t expert) {
  sheet.answers[expert] = {};
  sheet.answers[expert].failure = "expert " + sheet.names[expert] + " failed: planted";
  sheet.usable[expert] = false;
  sheet.correct[static_cast<int64_t>(expert)].zero_();
  sheet.cost[static_cast<int64_t>(expert)].zero_();
}

inline Tensor normal_features(int64_t n, int64_t channels, uint64_t seed) {
  Tensor out = at::empty({n, channels}, at::kDouble);
  RandomStream random = stream(seed, "test/features");
  for (int64_t k = 0; k < out.numel(); ++k) out.data_ptr<double>()[k] = random.next_normal();
  return out;
}

/// Costs of single answers drawn between half and one and a half of the expert's mean.
inline void vary_costs(Sheet& sheet, uint64_t seed) {
  RandomStream random = stream(seed, "test/costs");
  double* cost = sheet.cost.data_ptr<double>();
  for (int64_t k = 0; k < sheet.cost.numel(); ++k) cost[k] *= 0.5 + random.next_uniform();
}

}  // namespace entrain::experts
