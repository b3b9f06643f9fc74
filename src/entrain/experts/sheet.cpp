#include "entrain/experts/sheet.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/experts/counterfactual.h"

namespace entrain::experts {
namespace {

void check_usable(const Sheet& sheet) {
  if (std::find(sheet.usable.begin(), sheet.usable.end(), true) != sheet.usable.end()) return;
  throw Error(ErrorKind::kNumeric, "every expert of the pool failed; " + sheet.answers[0].failure, "train the experts with a lower learning rate");
}

Sheet fill(const Pool& pool, std::vector<Question> questions, const AskOptions& options) {
  Sheet sheet;
  sheet.questions = std::move(questions);
  std::vector<std::string_view> prompts;
  std::vector<int64_t> truth;
  for (const Question& question : sheet.questions) {
    prompts.push_back(question.prompt());
    truth.push_back(reasoning::answer_index(question.item.answer));
  }
  const std::vector<std::vector<int32_t>> encoded = pool.tokenizer.encode_batch(prompts, text::Specials::kAsText);
  for (const auto& ids : encoded) sheet.lengths.push_back(std::ssize(ids));
  sheet.truth = at::tensor(truth);
  std::vector<Tensor> correct, cost;
  for (const Expert& expert : pool.experts) {
    sheet.names.push_back(expert.name);
    sheet.answers.push_back(ask(expert, pool.tokenizer, pool.tokens, encoded, options));
    const Answers& answers = sheet.answers.back();
    sheet.usable.push_back(answers.failure.empty());
    correct.push_back(sheet.usable.back() ? (answers.choice == sheet.truth).to(at::kDouble) : at::zeros({sheet.n()}, at::kDouble));
    cost.push_back(sheet.usable.back() ? at::tensor(answers.flops, at::kDouble) : at::zeros({sheet.n()}, at::kDouble));
  }
  check_usable(sheet);
  sheet.correct = at::stack(correct);
  sheet.cost = at::stack(cost);
  return sheet;
}

int64_t extreme(const Sheet& sheet, double sign) {
  int64_t best = -1;
  double best_cost = 0;
  for (int64_t j = 0; j < sheet.n_experts(); ++j) {
    if (!sheet.usable[static_cast<size_t>(j)]) continue;
    const double cost = sign * sheet.cost[j].mean().item<double>();
    if (best < 0 || cost < best_cost) {
      best = j;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace

int64_t Sheet::cheapest() const { return extreme(*this, 1); }
int64_t Sheet::dearest() const { return extreme(*this, -1); }

Tensor Sheet::relative_cost() const {
  const Tensor mean = cost.mean(1);
  return mean / mean.max();
}

std::vector<std::string> Sheet::failures() const {
  std::vector<std::string> found;
  for (const Answers& one : answers) {
    if (!one.failure.empty()) found.push_back(one.failure + "; the pool goes on without it");
  }
  return found;
}

bool asked_in_english(const reasoning::Item& item, double share) {
  return static_cast<double>((item.hash.low >> 11) * 2654435761ULL % (1ULL << 32)) < share * static_cast<double>(1ULL << 32);
}

Sheet make_sheet(const Pool& pool, std::vector<reasoning::Item> items, double english, const AskOptions& options) {
  std::vector<Question> questions;
  for (reasoning::Item& item : items) {
    const bool in_english = asked_in_english(item, english);
    questions.push_back({std::move(item), in_english});
  }
  return fill(pool, std::move(questions), options);
}

Sheet other_surface(const Pool& pool, const Sheet& sheet, const AskOptions& options) {
  std::vector<Question> questions = sheet.questions;
  for (Question& question : questions) question.in_english = !question.in_english;
  return fill(pool, std::move(questions), options);
}

Sheet other_letters(const Pool& pool, const Sheet& sheet, const AskOptions& options) {
  std::vector<Question> questions = sheet.questions;
  for (Question& question : questions) {
    RandomStream random = stream(0, "experts/letters", question.item.hash.high, question.item.hash.low);
    question.item.symbolic = rename_letters(question.item.symbolic, draw_letter_map(question.item.symbolic, random));
  }
  return fill(pool, std::move(questions), options);
}

void agree_on_failures(std::span<Sheet* const> sheets) {
  for (int64_t j = 0; j < sheets[0]->n_experts(); ++j) {
    const auto e = static_cast<size_t>(j);
    const auto failed = std::find_if(sheets.begin(), sheets.end(), [&](const Sheet* sheet) { return !sheet->usable[e]; });
    if (failed == sheets.end()) continue;
    const std::string why = (*failed)->answers[e].failure;
    for (Sheet* sheet : sheets) {
      sheet->answers[e] = {};
      sheet->answers[e].failure = why;
      sheet->usable[e] = false;
      sheet->correct[j].zero_();
      sheet->cost[j].zero_();
    }
  }
  check_usable(*sheets[0]);
}

std::vector<int64_t> strata(const Sheet& sheet) {
  std::map<std::tuple<std::string, int64_t, bool>, int64_t> numbers;
  std::vector<int64_t> out;
  for (const Question& q : sheet.questions) {
    out.push_back(numbers.emplace(std::make_tuple(q.item.family, q.item.depth, q.in_english), static_cast<int64_t>(numbers.size())).first->second);
  }
  return out;
}

}  // namespace entrain::experts
