#pragma once
// One run of the iterative mode, kept so that it can be read and run again without any model.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "entrain/reasoning/item.h"

namespace entrain::experts {

/// Why a loop ended; every end but kFinish is followed by one forced answer.
enum class End {
  kFinish,      ///< an expert finished with an answer
  kStepCap,     ///< the steps are used up
  kUnparsable,  ///< kUnparsableInARow steps in a row held no action
  kCycle,       ///< the same was done and seen again
  kNoExpert,    ///< every expert has failed
};
constexpr std::array<std::string_view, 5> kEndNames = {"finish", "step cap", "unparsable", "cycle", "no expert"};

constexpr int64_t kUnparsableInARow = 3;
constexpr int64_t kMaxSteps = 1000;  ///< the highest cap a loop can have

/// What one expert did in one step.
struct Step {
  int64_t expert = 0;               ///< of Trace::experts
  std::vector<double> scores = {};  ///< P(its next action is right) of each expert, where the chooser has one
  std::string wrote = {};           ///< all of it
  std::string thought = {};         ///< its line "Thought: ...", as it stands in the transcript; may be empty
  std::string action = {};          ///< "LOOKUP a"; empty: none could be read
  std::string cut = {};             ///< lines of `wrote` that did not enter the transcript
  std::string observation = {};     ///< what the world answered, or why there was no action; empty after FINISH
  bool is_error = false;            ///< the observation is an error
  double probability = 0;           ///< geometric mean of what the expert gave each token it wrote
  int64_t n_tokens = 0;             ///< written, what was cut included
  double flops = 0;                 ///< of choosing, reading and writing
  std::string failure = {};         ///< not empty: the expert failed and is left out from here on; nothing else is then set but flops

  bool operator==(const Step&) const = default;
};

/// An expert that was asked for the forced answer and failed.
struct Unanswered {
  int64_t expert = 0;
  std::string failure = {};
  bool operator==(const Unanswered&) const = default;
};

struct Trace {
  static constexpr int64_t kVersion = 1;

  reasoning::Item item;
  bool in_english = false;              ///< the surface that was asked
  uint64_t seed = 0;                    ///< of the run; the world's follows from it and the item
  int64_t max_steps = 0, max_visits = 0;
  bool constrained = false;             ///< experts could write actions of the grammar only
  std::vector<std::string> experts;     ///< names
  std::vector<Step> steps;
  End end = End::kNoExpert;
  std::vector<Unanswered> unanswered;
  int64_t answered_by = -1;             ///< -1: nobody, and the answer is empty
  std::string answer;
  std::vector<double> answer_probabilities;  ///< of reasoning::kAnswers, for a forced answer
  double answer_flops = 0;
  bool correct = false;

  const std::string& prompt() const { return in_english ? item.english : item.symbolic; }
  bool forced() const { return end != End::kFinish && answered_by >= 0; }
  int64_t n_unparsable() const;
  int64_t n_tool_errors() const;  ///< errors that tools answered
  int64_t n_tokens() const;       ///< written in all, a forced answer being one
  double flops() const;
  /// Of the world's errors.
  uint64_t world_seed() const;

  /// One JSON object with `format` and `version`. A step names its number and the one it comes after.
  std::string to_json() const;
  /// Throws Error{kData} naming what is missing, wrong, of another version or out of order; of a step with its number. A trace that is well formed may
  /// still be untrue: see replay().
  static Trace from_json(std::string_view text);

  bool operator==(const Trace&) const = default;
};

/// Runs the loop once more with what the experts wrote and compares everything that follows from it: thoughts, actions, cuts, observations, the end, the answer and
/// whether it is right, also by solving the item. Throws Error{kData} naming the first step and field that differ. Not checked, since only the models can tell: scores,
/// probabilities, token counts and FLOPs beyond their ranges.
void replay(const Trace& trace);

}  // namespace entrain::experts
