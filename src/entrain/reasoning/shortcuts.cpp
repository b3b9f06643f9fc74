#include "entrain/reasoning/shortcuts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr size_t kNAnswers = kAnswers.size();
constexpr int kNEpochs = 6;
constexpr double kLearningRate = 0.3;

using Counts = std::array<int64_t, kNAnswers>;

int most_frequent(const Counts& counts) {
  return static_cast<int>(std::max_element(counts.begin(), counts.end()) - counts.begin());
}

// ● 0, ◑ 1, ⊥ 2 as in kAnswers; -1 for any other symbol.
int truth_of(std::string_view symbol) {
  if (symbol == kTrue || symbol == "true") return 0;
  if (symbol == kUncertain || symbol == "unknown" || symbol == "uncertain") return 1;
  if (symbol == kFalse || symbol == "false") return 2;
  return -1;
}

std::string_view last_symbol(std::string_view prompt) {
  const auto symbols = split_views(prompt);
  for (size_t i = symbols.size(); i-- > 0;) {
    if (symbols[i] != "?") return symbols[i];
  }
  return "";
}

std::string_view visible(Shortcut shortcut, std::string_view prompt) {
  if (shortcut == Shortcut::kPremisesRemoved) return split_question(prompt).second;
  if (shortcut == Shortcut::kQueryRemoved) return split_question(prompt).first;
  return prompt;
}

/// Multinomial logistic regression on symbol counts, by AdaGrad in the order of the items.
class BagClassifier {
 public:
  explicit BagClassifier(Shortcut shortcut) : shortcut_(shortcut) {}

  void fit(std::span<const Item* const> items, Surface surface) {
    std::vector<std::vector<size_t>> bags;
    for (const Item* item : items) {
      bags.push_back(bag(prompt(*item, surface), true));
      possible_[static_cast<size_t>(answer_index(item->answer))] = true;
    }
    weights_.assign(numbers_.size() + 1, {});
    std::vector<std::array<double, kNAnswers>> squares(weights_.size());
    for (int epoch = 0; epoch < kNEpochs; ++epoch) {
      for (size_t i = 0; i < items.size(); ++i) {
        auto gradient = probabilities(bags[i]);
        gradient[static_cast<size_t>(answer_index(items[i]->answer))] -= 1;
        for (const size_t feature : bags[i]) {
          for (size_t answer = 0; answer < kNAnswers; ++answer) {
            if (!possible_[answer]) continue;
            squares[feature][answer] += gradient[answer] * gradient[answer];
            weights_[feature][answer] -= kLearningRate * gradient[answer] / std::sqrt(squares[feature][answer] + 1e-8);
          }
        }
      }
    }
  }

  int answer(std::string_view text) {
    const auto scores = probabilities(bag(text, false));
    return static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }

 private:
  // Features with repetition; 0 is the bias. Symbols not met in fitting are left out.
  std::vector<size_t> bag(std::string_view text, bool learns) {
    std::vector<size_t> features = {0};
    for (const std::string_view symbol : split_views(visible(shortcut_, text))) {
      const std::string key(symbol);
      if (learns) numbers_.try_emplace(key, numbers_.size() + 1);
      if (const auto found = numbers_.find(key); found != numbers_.end()) features.push_back(found->second);
    }
    // In a fixed order, so that equal bags have equal scores to the last bit, wherever the symbols stand.
    std::sort(features.begin(), features.end());
    return features;
  }

  std::array<double, kNAnswers> probabilities(const std::vector<size_t>& features) const {
    std::array<double, kNAnswers> scores{};
    for (const size_t feature : features) {
      for (size_t answer = 0; answer < kNAnswers; ++answer) scores[answer] += weights_[feature][answer];
    }
    double highest = -1e300, sum = 0;
    for (size_t answer = 0; answer < kNAnswers; ++answer) {
      if (possible_[answer]) highest = std::max(highest, scores[answer]);
    }
    for (size_t answer = 0; answer < kNAnswers; ++answer) {
      scores[answer] = possible_[answer] ? std::exp(scores[answer] - highest) : 0;
      sum += scores[answer];
    }
    for (double& score : scores) score /= sum;
    return scores;
  }

  Shortcut shortcut_;
  std::unordered_map<std::string, size_t> numbers_;
  std::array<bool, kNAnswers> possible_{};
  std::vector<std::array<double, kNAnswers>> weights_;
};

int copied(std::string_view prompt) {
  int only = -1;
  for (const std::string_view symbol : split_views(prompt)) {
    const int truth = truth_of(symbol);
    if (truth < 0) continue;
    if (only >= 0 && only != truth) return -1;
    only = truth;
  }
  return only;
}

}  // namespace

const std::string& prompt(const Item& item, Surface surface) {
  return surface == Surface::kSymbolic ? item.symbolic : item.english;
}

std::pair<std::string_view, std::string_view> split_question(std::string_view prompt) {
  const auto symbols = split_views(prompt);
  if (symbols.empty()) return {prompt, prompt};
  const auto offset = [&](size_t i) { return static_cast<size_t>(symbols[i].data() - prompt.data()); };
  for (size_t i = symbols.size() - 1; i-- > 0;) {
    if (symbols[i] == "?") return {prompt.substr(0, offset(i)), prompt.substr(offset(i))};
  }
  for (size_t i = symbols.size() - 1; i-- > 0;) {
    if (symbols[i] == ";" || symbols[i].back() == '.') return {prompt.substr(0, offset(i + 1)), prompt.substr(offset(i + 1))};
  }
  return {prompt.substr(0, 0), prompt};
}

int64_t n_truth_symbols(std::string_view prompt) {
  const auto symbols = split_views(prompt);
  return std::count_if(symbols.begin(), symbols.end(), [](std::string_view symbol) { return truth_of(symbol) >= 0; });
}

std::vector<int> shortcut_answers(Shortcut shortcut, Surface surface, std::span<const Item* const> train,
                                  std::span<const Item* const> scored) {
  std::vector<int> answers;
  answers.reserve(scored.size());
  Counts overall{};
  std::map<std::string_view, Counts> behind;
  for (const Item* item : train) {
    const auto answer = static_cast<size_t>(answer_index(item->answer));
    ++overall[answer];
    ++behind.try_emplace(last_symbol(prompt(*item, surface))).first->second[answer];
  }
  if (shortcut == Shortcut::kBag || shortcut == Shortcut::kPremisesRemoved || shortcut == Shortcut::kQueryRemoved) {
    BagClassifier classifier(shortcut);
    classifier.fit(train, surface);
    for (const Item* item : scored) answers.push_back(classifier.answer(prompt(*item, surface)));
    return answers;
  }
  for (const Item* item : scored) {
    if (shortcut == Shortcut::kCopy) {
      answers.push_back(copied(prompt(*item, surface)));
    } else if (shortcut == Shortcut::kLastSymbol) {
      const auto found = behind.find(last_symbol(prompt(*item, surface)));
      answers.push_back(most_frequent(found == behind.end() ? overall : found->second));
    } else {
      answers.push_back(most_frequent(overall));
    }
  }
  return answers;
}

}  // namespace entrain::reasoning
