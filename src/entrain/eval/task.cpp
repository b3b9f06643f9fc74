#include "entrain/eval/task.h"

#include <algorithm>

#include "entrain/base/error.h"

namespace entrain::eval {
namespace {

/// Requests worked on at once: enough to fill batches of rows of like length, few enough that their encodings fit in memory.
constexpr size_t kRequestsAtOnce = 4096;

size_t n_requests(const Item& item) { return item.contexts.empty() ? 0 : std::max(item.contexts.size(), item.continuations.size()); }

/// Likelihoods of items [first, last), by item.
std::vector<std::vector<Likelihood>> likelihoods_of(const model::Transformer& model, const text::Tokenizer& tokenizer, std::span<const Item> items, int64_t batch_tokens) {
  std::vector<Request> requests;
  for (const Item& item : items) {
    for (size_t i = 0; i < n_requests(item); ++i) {
      requests.push_back({item.contexts[std::min(i, item.contexts.size() - 1)], item.continuations[std::min(i, item.continuations.size() - 1)]});
    }
  }
  const std::vector<Likelihood> flat = log_likelihoods(model, tokenizer, requests, {.batch_tokens = batch_tokens, .on_progress = {}});
  std::vector<std::vector<Likelihood>> out;
  size_t at = 0;
  for (const Item& item : items) {
    const auto begin = flat.begin() + static_cast<std::ptrdiff_t>(at);
    out.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(n_requests(item)));
    at += n_requests(item);
  }
  return out;
}

}  // namespace

const std::vector<Task>& tasks() {
  static const std::vector<Task> all = [] {
    std::vector<Task> list;
    for (const auto make : {choice_tasks, likelihood_tasks, generation_tasks, bias_tasks}) {
      for (Task& task : make()) list.push_back(std::move(task));
    }
    return list;
  }();
  return all;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task& task : tasks()) names.push_back(task.name);
  return names;
}

const Task& find_task(const std::string& name) {
  const auto found = std::find_if(tasks().begin(), tasks().end(), [&](const Task& task) { return task.name == name; });
  if (found != tasks().end()) return *found;
  const std::string near = nearest_name(name, task_names());
  std::string all;
  for (const std::string& one : task_names()) all += (all.empty() ? "" : ", ") + one;
  throw Error(ErrorKind::kUsage, "there is no task " + name + (near.empty() ? "" : "; did you mean " + near + "?"), "the tasks are " + all);
}

void check_shots(const std::string& task, int64_t shots, int64_t available) {
  if (shots <= available) return;
  throw Error(ErrorKind::kUsage, task + " was asked for " + std::to_string(shots) + " examples before each prompt and its data has " +
                                     (available == 0 ? "none to show" : "only " + std::to_string(available)),
              available == 0 ? "leave --shots out" : "give --shots at most " + std::to_string(available));
}

std::vector<Item> load_items(const std::string& name, const TaskOptions& options) {
  const Task& task = find_task(name);
  std::error_code ignored;
  if (!fs::is_directory(options.data, ignored)) {
    throw Error(ErrorKind::kIo, "there is no folder " + options.data.string(), "--data names the folder that holds a folder for each set");
  }
  return task.load(options, options.shots < 0 ? task.shots : options.shots);
}

TaskResult run_task(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& name, const TaskOptions& options) {
  const Task& task = find_task(name);
  check_vocabulary(model, tokenizer);
  const std::vector<Item> items = load_items(name, options);
  TaskResult result;
  result.task = name;
  result.shots = options.shots < 0 ? task.shots : options.shots;
  result.n_items = std::ssize(items);
  result.columns = task.columns;
  for (size_t first = 0; first < items.size();) {
    size_t last = first;
    for (size_t n = 0; last < items.size() && (last == first || n < kRequestsAtOnce) && (last == first || items[last].prompt.empty()); ++last) n += n_requests(items[last]);
    const std::span<const Item> block(items.data() + first, last - first);
    auto likelihoods = likelihoods_of(model, tokenizer, block, options.batch_tokens);
    for (size_t i = 0; i < block.size(); ++i) {
      Outcome outcome{std::move(likelihoods[i]), "", {}};
      bool truncated = std::any_of(outcome.likelihoods.begin(), outcome.likelihoods.end(), [](const Likelihood& one) { return one.truncated; });
      if (!block[i].prompt.empty()) {
        Generation generation = generate_until(model, tokenizer, block[i].prompt, {"Question:", "</s>", "<|im_end|>"}, 256);
        outcome.generated = std::move(generation.text);
        truncated = truncated || generation.truncated;
      }
      if (!block[i].sentences.empty()) outcome.states = mean_states(model, tokenizer, block[i].sentences);
      ItemScore score = task.score(block[i], outcome);
      score.id = block[i].id;
      score.group = block[i].group;
      for (const Likelihood& one : outcome.likelihoods) {
        score.log_likelihoods.push_back(one.log_likelihood);
        score.greedy.push_back(one.greedy);
      }
      ENTRAIN_CHECK(score.values.size() == task.columns.size(), task.name);
      result.items.push_back(std::move(score));
      result.n_truncated += truncated ? 1 : 0;
    }
    first = last;
    if (options.on_progress) options.on_progress(static_cast<int64_t>(first), result.n_items);
  }
  result.metrics = summarise(name, result.items);
  return result;
}

std::vector<Metric> summarise(const std::string& task, std::span<const ItemScore> items) {
  if (items.empty()) return {};
  const Task& found = find_task(task);
  return found.summarise(Table(found.columns, items));
}

}  // namespace entrain::eval
