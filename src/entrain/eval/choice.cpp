#include "entrain/eval/choice.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/eval/prompt.h"

namespace entrain::eval {
namespace {

constexpr uint32_t kExampleSeed = 1234;

std::string solved(const Question& example, const std::string& delimiter) {
  const auto gold = static_cast<size_t>(example.gold);
  return (example.contexts.empty() ? example.prompt : example.contexts.at(gold)) + delimiter + example.choices.at(gold) + "\n\n";
}

}  // namespace

const std::vector<std::string> kChoiceColumns{"acc", "acc_norm", "gold_log_likelihood", "gold_bytes", "gold_probability", "chance"};

std::vector<Item> items_of(const std::string& task, std::vector<Part> parts, const TaskOptions& options, int64_t shots, Examples examples, const std::string& delimiter) {
  std::vector<Item> items;
  for (Part& part : parts) {
    cut_to_limit(part.questions, options.limit);
    check_shots(task, shots, std::ssize(part.examples));
    PythonRandom random(kExampleSeed);
    for (Question& question : part.questions) {
      std::string before = part.description;
      if (shots > 0) {
        std::vector<int64_t> chosen(static_cast<size_t>(shots));
        for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<int64_t>(i);
        if (examples == Examples::kSampled) chosen = random.sample(std::ssize(part.examples), shots);
        for (const int64_t i : chosen) before += solved(part.examples[static_cast<size_t>(i)], delimiter);
      }
      Item item;
      const std::string gold = question.choices.at(static_cast<size_t>(question.gold));
      item.text = !question.text.empty() ? question.text : question.prompt.empty() ? gold : question.prompt + delimiter + gold;
      item.id = part.group.empty() ? question.id : part.group + "/" + question.id;
      item.group = part.group;
      if (question.contexts.empty()) {
        item.contexts = {before + question.prompt};
      } else {
        for (const std::string& context : question.contexts) item.contexts.push_back(before + context);
        item.text = question.text.empty() ? question.contexts.at(static_cast<size_t>(question.gold)) + delimiter + gold : question.text;
      }
      for (const std::string& choice : question.choices) item.continuations.push_back(delimiter + choice);
      item.choices = std::move(question.choices);
      item.gold = question.gold;
      item.facts = std::move(question.facts);
      items.push_back(std::move(item));
    }
  }
  return items;
}

size_t first_largest(std::span<const double> values) { return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin()); }

std::vector<double> log_likelihoods_of(const Outcome& outcome) {
  std::vector<double> values;
  for (const Likelihood& one : outcome.likelihoods) values.push_back(one.log_likelihood);
  return values;
}

std::vector<double> softmax(std::span<const double> values) {
  const double largest = values[first_largest(values)];
  std::vector<double> out;
  double sum = 0;
  for (const double v : values) sum += out.emplace_back(std::exp(v - largest));
  for (double& v : out) v /= sum;
  return out;
}

ItemScore score_choice(const Item& item, const Outcome& outcome) {
  const std::vector<double> log_likelihoods = log_likelihoods_of(outcome);
  std::vector<double> normalised;
  for (size_t i = 0; i < log_likelihoods.size(); ++i) normalised.push_back(log_likelihoods[i] / static_cast<double>(n_characters(item.choices[i])));
  const auto gold = static_cast<size_t>(item.gold);
  return {.values = {first_largest(log_likelihoods) == gold ? 1.0 : 0.0, first_largest(normalised) == gold ? 1.0 : 0.0, log_likelihoods[gold],
                     static_cast<double>(item.choices[gold].size()), softmax(log_likelihoods)[gold], 1.0 / static_cast<double>(log_likelihoods.size())}};
}

}  // namespace entrain::eval
