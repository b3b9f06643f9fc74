// Tasks that let the model write: GSM8K.

#include <numbers>

#include "entrain/eval/choice.h"
#include "entrain/eval/gsm8k.h"
#include "entrain/eval/records.h"

namespace entrain::eval {
namespace {

std::vector<Question> read_problems(const fs::path& path) {
  std::vector<Question> out;
  for (const Record& record : read_jsonl(path)) {
    out.push_back({std::to_string(out.size()), "Question: " + record.text("question") + "\nAnswer:", {record.text("answer")}});
  }
  return out;
}

/// The solution is both generated and scored as a continuation.
std::vector<Item> load_gsm8k(const TaskOptions& options, int64_t shots) {
  const fs::path folder = options.data / "gsm8k";
  Part part{.group = "", .questions = read_problems(folder / "test.jsonl"), .examples = shots > 0 ? read_problems(folder / "train.jsonl") : std::vector<Question>{}};
  std::vector<Item> items = items_of("gsm8k", {std::move(part)}, options, shots, Examples::kSampled);
  for (Item& item : items) {
    item.prompt = item.contexts[0];
    item.answer = item.choices[0];
  }
  return items;
}

ItemScore score_gsm8k(const Item& item, const Outcome& outcome) {
  const std::string strict = strict_match(outcome.generated), flexible = flexible_extract(outcome.generated);
  const double nats = -outcome.likelihoods.at(0).log_likelihood;
  ItemScore score{.values = {same_answer(strict, item.answer) ? 1.0 : 0.0, same_answer(flexible, item.answer) ? 1.0 : 0.0, nats / std::numbers::ln2,
                             static_cast<double>(item.answer.size())}};
  score.texts = {outcome.generated, strict, flexible};
  return score;
}

}  // namespace

std::vector<Task> generation_tasks() {
  Task task;
  task.name = "gsm8k";
  task.shots = 5;
  task.columns = {"exact_match,strict-match", "exact_match,flexible-extract", "gold_bits", "gold_bytes"};
  task.load = load_gsm8k;
  task.score = score_gsm8k;
  task.summarise = [](const Table& table) {
    const auto [bits, bytes] = table.columns("gold_bits", "gold_bytes");
    return std::vector<Metric>{mean_metric("exact_match,strict-match", table.column("exact_match,strict-match")),
                               mean_metric("exact_match,flexible-extract", table.column("exact_match,flexible-extract")), ratio_metric("gold_bits_per_byte", bits, bytes)};
  };
  return {task};
}

}  // namespace entrain::eval
