#pragma once
// Writers whose words are given, and a question of family tools that is easy to follow.

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "entrain/base/error.h"
#include "entrain/experts/iterate.h"

namespace entrain::experts {

/// "a → → ?": a leads to b, b to 7.
inline Question two_hops(double error_rate = 0, int64_t step_budget = 8) {
  reasoning::Item item;
  item.family = "tools";
  item.depth = 2;
  item.symbolic = "a → → ?";
  item.english = "What is a after two hops ?";
  item.answer = "7";
  item.canonical = "two hops|7";
  item.hash = reasoning::canonical_hash(item.family, item.canonical);
  item.world = {{"store", {{"a", "b"}, {"b", "7"}, {"c", "c"}}}, {"error_rate", error_rate}, {"step_budget", step_budget}};
  return {item, false};
}

/// Writes what a function of the transcript says.
class Scripted : public Writer {
 public:
  using Script = std::function<std::string(const std::string& transcript)>;
  explicit Scripted(Script script, std::string name = "scripted") : script_(std::move(script)), name_(std::move(name)) {}
  std::string name() const override { return name_; }
  std::vector<Written> write(std::span<const Turn> turns) override {
    std::vector<Written> out;
    for (const Turn& turn : turns) {
      seen.push_back(turn.transcript);
      const std::string text = script_(turn.transcript);
      out.push_back({text, probability, static_cast<int64_t>(text.size()), 10, ""});
    }
    return out;
  }
  std::vector<Given> answer(std::span<const Turn> turns) override {
    n_answers += static_cast<int64_t>(turns.size());
    std::vector<double> shares(kAnswers, 0.0);
    shares[static_cast<size_t>(reasoning::answer_index(best_answer))] = answer_probability;
    return std::vector<Given>(turns.size(), Given{shares, 3, ""});
  }

  std::vector<std::string> seen;
  double probability = 0.5, answer_probability = 1;
  std::string best_answer = "7";
  int64_t n_answers = 0;

 private:
  Script script_;
  std::string name_;
};

/// The same words in turn, the last for ever.
inline Scripted::Script in_turn(std::vector<std::string> words) {
  return [words = std::move(words), next = size_t{0}](const std::string&) mutable { return words[std::min(next++, words.size() - 1)]; };
}

inline Scripted::Script saying(std::string words) { return in_turn({std::move(words)}); }

inline Scripted::Script throwing() {
  return [](const std::string&) -> std::string { throw std::runtime_error("the disk is gone"); };
}

/// Solves any chain of lookups: follows what the transcript's last observation says.
inline std::string solver(const std::string& transcript) {
  const size_t last = transcript.rfind("\nObs: ");
  if (last == std::string::npos || transcript.substr(last).starts_with("\nObs: error")) {
    const size_t act = transcript.rfind("\nAct: LOOKUP ");
    return "\nThought: try\nAct: LOOKUP " + (act == std::string::npos ? std::string("a") : transcript.substr(act + 13, 1)) + "\n";
  }
  const std::string value = transcript.substr(last + 6);
  return value[0] >= '0' && value[0] <= '9' ? "\nThought: done\nAct: FINISH " + value : "\nThought: follow " + value + "\nAct: LOOKUP " + value + "\n";
}

template <class... Scripts>
Writers writers_of(Scripts... scripts) {
  Writers writers;
  (writers.push_back(std::make_unique<Scripted>(scripts, "expert " + std::to_string(writers.size()))), ...);
  return writers;
}

inline Scripted& scripted(Writers& writers, size_t i = 0) { return static_cast<Scripted&>(*writers[i]); }

inline Trace run(Writers& writers, const Question& question, const IterateOptions& options = {}, const Chooser& chooser = always(0)) {
  return iterate(writers, std::span(&question, 1), chooser, options)[0];
}

}  // namespace entrain::experts
