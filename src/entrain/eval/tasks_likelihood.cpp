// Tasks that ask how likely one continuation is: LAMBADA, arithmetic.

#include "entrain/eval/records.h"
#include "entrain/eval/task.h"

namespace entrain::eval {
namespace {

/// A file of {"context", "continuation"}. `joint` stands between them; perplexity is of the continuation as a whole.
struct ContinuationSet {
  const char* name;
  const char* file;
  const char* joint;
};

std::vector<Item> load_continuations(const ContinuationSet& set, const TaskOptions& options, int64_t shots) {
  check_shots(set.name, shots, 0);
  std::vector<Record> records = read_jsonl(options.data / set.name / set.file);
  cut_to_limit(records, options.limit);
  std::vector<Item> items;
  for (const Record& record : records) {
    Item item;
    item.id = std::to_string(items.size());
    item.contexts = {record.text("context")};
    item.choices = {record.text("continuation")};
    item.continuations = {set.joint + item.choices[0]};
    item.text = item.contexts[0] + item.continuations[0];
    items.push_back(std::move(item));
  }
  return items;
}

ItemScore score_continuation(const Item&, const Outcome& outcome) {
  const Likelihood& one = outcome.likelihoods.at(0);
  return {.values = {one.log_likelihood, one.greedy ? 1.0 : 0.0, static_cast<double>(one.n_tokens)}};
}

}  // namespace

std::vector<Task> likelihood_tasks() {
  static const ContinuationSet kSets[] = {{"lambada_openai", "lambada_openai.jsonl", " "}, {"simple_arithmetic", "simple_arithmetic_withspaces.jsonl", ""}};
  std::vector<Task> list;
  for (const ContinuationSet& set : kSets) {
    Task task;
    task.name = set.name;
    task.columns = {"log_likelihood", "acc", "n_tokens"};
    task.load = [&set](const TaskOptions& options, int64_t shots) { return load_continuations(set, options, shots); };
    task.score = score_continuation;
    task.summarise = [](const Table& table) {
      const std::vector<double> log_likelihoods = table.column("log_likelihood");
      return std::vector<Metric>{perplexity_metric("perplexity", log_likelihoods), mean_metric("acc", table.column("acc")), mean_metric("gold_log_likelihood", log_likelihoods)};
    };
    list.push_back(std::move(task));
  }
  return list;
}

}  // namespace entrain::eval
