#pragma once
// Multiple choice: which continuation is likeliest. Shared by the tasks that ask it.

#include "entrain/eval/task.h"

namespace entrain::eval {

struct Question {
  std::string id;
  std::string prompt;
  std::vector<std::string> choices;
  int64_t gold = 0;
  std::vector<std::string> contexts = {};  ///< where the choices differ before one common end: `prompt` is empty, `choices` hold the end
  std::string text = {};                   ///< for overlap with training text; empty: prompt and gold choice
  std::vector<double> facts = {};
};

/// Questions that are limited, sampled and averaged together: a subject, a paradigm, a whole set.
struct Part {
  std::string group;
  std::string description = {};  ///< before the first example
  std::vector<Question> questions;
  std::vector<Question> examples = {};  ///< to show as solved
};

/// How examples are chosen for each question, as the harness does.
enum class Examples {
  kSampled,  ///< random.Random(1234).sample, going on from question to question
  kFirst,    ///< the first ones
};

/// Items with contexts of `shots` solved examples. `delimiter` joins prompt and choice.
std::vector<Item> items_of(const std::string& task, std::vector<Part> parts, const TaskOptions& options, int64_t shots, Examples examples, const std::string& delimiter = " ");

/// Index of the largest; the first on ties.
size_t first_largest(std::span<const double> values);
std::vector<double> log_likelihoods_of(const Outcome& outcome);
/// exp(x) over their sum, safe for any size.
std::vector<double> softmax(std::span<const double> values);

/// Columns acc, acc_norm, gold_log_likelihood, gold_bytes, gold_probability, chance.
extern const std::vector<std::string> kChoiceColumns;
ItemScore score_choice(const Item& item, const Outcome& outcome);

}  // namespace entrain::eval
