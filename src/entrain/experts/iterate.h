#pragma once
// The iterative mode (ReAct; Yao et al., arXiv 2210.03629): think, act, observe, in the lines of reasoning/tools.h, with a choice of expert before every step.

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "entrain/experts/logistic.h"
#include "entrain/experts/sheet.h"
#include "entrain/experts/trace.h"

namespace entrain::experts {

/// A transcript to go on with: the prompt, then lines as reasoning::tool_transcript writes them, without a line break at its end.
struct Turn {
  int64_t item = 0;  ///< the same number for all turns of one item, so that a writer can remember what it has read
  std::string transcript;
};

/// What an expert wrote behind a transcript.
struct Written {
  std::string text;
  double probability = 0;  ///< geometric mean of its tokens'
  int64_t n_tokens = 0;
  double flops = 0;
  std::string failure = {};
};

/// An expert's answer where it must give one.
struct Given {
  std::vector<double> probabilities;  ///< of reasoning::kAnswers
  double flops = 0;
  std::string failure = {};
};

/// The seam to an expert. One that throws, or whose numbers are not finite, has failed; so has one that sets `failure`.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual std::string name() const = 0;
  /// One for each turn.
  virtual std::vector<Written> write(std::span<const Turn> turns) = 0;
  /// What it answers behind each transcript and kFinishOpened.
  virtual std::vector<Given> answer(std::span<const Turn> turns) = 0;
};

using Writers = std::vector<std::unique_ptr<Writer>>;

/// What a forced answer is asked behind: tool_transcript's last lines without the answer.
constexpr const char* kFinishOpened = "\nThought: done\nAct: FINISH";

/// Whose turn it is.
struct Choice {
  Choice(int64_t chosen) : expert(chosen) {}  // NOLINT: a chooser may return a plain number
  int64_t expert;
  std::vector<double> scores = {};  ///< as Step::scores
  double flops = 0;                 ///< of choosing
};

/// Transcript and number of the step -> expert in [0, N). Where that one is left out, the next of highest score goes instead, or the next in order where there are no scores.
using Chooser = std::function<Choice(const std::string& transcript, int64_t step)>;

Chooser always(int64_t expert);
/// Uniform; drawn from (seed, transcript, step) alone.
Chooser at_random(int64_t n_experts, uint64_t seed);

struct IterateOptions {
  int64_t max_steps = 16;       ///< the world's own budget holds besides
  int64_t max_visits = 3;       ///< an action with the same observation this often is a cycle
  int64_t max_tokens = 32;      ///< in one step; under `constrained` before its action
  bool constrained = false;     ///< actions are chosen from the grammar, so that all of them parse
  uint64_t seed = 0;            ///< of the worlds' errors
  double english = 0;           ///< share of items asked in English
  int64_t rows = 64;            ///< read at once by one expert, all of one length
  int64_t items_at_once = 256;  ///< in step with each other; bounds the memory for what was read
};

/// Runs all questions in step with each other: a question's trace does not depend on the others beyond the rounding of batched products. An error twice in a row is no cycle
/// (trying again is right), `max_visits` times is. Throws Error{kUsage} for items of other families and options out of range, Error{kData} for worlds that are none.
std::vector<Trace> iterate(Writers& writers, std::span<const Question> questions, const Chooser& chooser, const IterateOptions& options = {});

/// Figures over many traces. Cost is relative to the dearest expert's mean for answering directly: reading the prompt and two tokens more.
struct IterationReport {
  int64_t n = 0;
  double solved = 0, forced = 0;         ///< shares
  double steps = 0, tokens = 0;          ///< means of an item
  double unparsable = 0, tool_errors = 0;
  double flops = 0, relative_cost = 0;
  std::map<std::string, double> ends;    ///< share of each of kEndNames
  std::map<int64_t, double> solved_by_depth;
  std::vector<double> shares;            ///< of steps, by expert
  int64_t n_failures = 0;                ///< experts left out, counted once an item
  std::vector<Trace> traces;             ///< in the items' order
};

/// unit_flops: of a relative cost of one.
IterationReport summarise(std::vector<Trace> traces, double unit_flops);

IterationReport iterate_all(const Pool& pool, std::span<const reasoning::Item> items, const Chooser& chooser, const IterateOptions& options = {});
Trace make_trace(const Pool& pool, const reasoning::Item& item, const Chooser& chooser, const IterateOptions& options = {});

}  // namespace entrain::experts
