#pragma once
// Evaluation tasks: items of a data set -> requests to the model -> a score an item -> metrics.
// Prompts and scores are those of lm-evaluation-harness 0.4.13; docs/tasks.md defines each task.

#include <functional>

#include "entrain/base/files.h"
#include "entrain/eval/requests.h"
#include "entrain/eval/summary.h"

namespace entrain::eval {

struct TaskOptions {
  fs::path data;                ///< holds one folder a set
  int64_t shots = -1;           ///< solved examples before each prompt; -1: the task's own number
  int64_t limit = 0;            ///< first items of each file, as the harness' limit; 0: all
  int64_t batch_tokens = 4096;  ///< tokens read at once
  std::function<void(int64_t done, int64_t total)> on_progress = {};  ///< in items
};

struct TaskResult {
  std::string task;
  int64_t shots = 0, n_items = 0;
  int64_t n_truncated = 0;  ///< items of which the model's context did not hold all
  std::vector<Metric> metrics;
  std::vector<std::string> columns;
  std::vector<ItemScore> items;
};

/// One question of a data set, ready to be asked.
struct Item {
  std::string id, group;
  std::string text;                        ///< the question and its answer as they could stand in training text
  std::vector<std::string> contexts;       ///< one for all continuations, or one each
  std::vector<std::string> continuations;  ///< one for all contexts, or one each
  std::vector<std::string> choices;        ///< the continuations without what joins them to the context
  int64_t gold = 0;
  std::vector<double> facts;               ///< numbers of the data that the task's score needs
  std::string prompt, answer;              ///< to generate from, and the solution
  std::vector<std::string> sentences;      ///< whose states are asked for
};

/// What the model said to an item.
struct Outcome {
  std::vector<Likelihood> likelihoods;  ///< one a continuation
  std::string generated;
  std::vector<float> states;            ///< sentences x C
};

struct Task {
  std::string name;
  int64_t shots = 0;  ///< when none are asked for
  std::vector<std::string> columns;
  std::function<std::vector<Item>(const TaskOptions&, int64_t shots)> load;
  std::function<ItemScore(const Item&, const Outcome&)> score;
  std::function<std::vector<Metric>(const Table&)> summarise;
};

/// All tasks, in the order of the documentation.
const std::vector<Task>& tasks();
std::vector<std::string> task_names();
/// Throws Error{kUsage} with the nearest name for an unknown one.
const Task& find_task(const std::string& name);

/// The items of a task. Throws Error{kIo} for missing files, Error{kData} naming file and line, Error{kUsage} for more shots than
/// the set has examples to show.
std::vector<Item> load_items(const std::string& name, const TaskOptions& options);

/// Runs a task. Throws as load_items and log_likelihoods do.
TaskResult run_task(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& name, const TaskOptions& options);

/// Metrics of some items of a task, such as those not met in training. Empty where there are none.
std::vector<Metric> summarise(const std::string& task, std::span<const ItemScore> items);

// -- For the sources of tasks ----------------------------------------------------------------------------------------

std::vector<Task> choice_tasks();
std::vector<Task> likelihood_tasks();
std::vector<Task> bias_tasks();
std::vector<Task> generation_tasks();

/// The first `limit` of the records; all where it is 0.
template <typename Records>
void cut_to_limit(Records& records, int64_t limit) {
  if (limit > 0 && std::ssize(records) > limit) records.resize(static_cast<size_t>(limit));
}

/// Throws Error{kUsage} where a task is asked for more examples than there are.
void check_shots(const std::string& task, int64_t shots, int64_t available);

}  // namespace entrain::eval
