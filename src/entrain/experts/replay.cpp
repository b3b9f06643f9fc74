#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/experts/iterate.h"
#include "entrain/reasoning/family.h"

namespace entrain::experts {
namespace {

/// An expert that writes what a trace says it wrote.
class Recorded : public Writer {
 public:
  Recorded(const Trace& trace, size_t expert, const size_t& step, const size_t& n_asked) : trace_(trace), expert_(expert), step_(step), n_asked_(n_asked) {}
  std::string name() const override { return trace_.experts[expert_]; }

  std::vector<Written> write(std::span<const Turn>) override {
    const Step& step = trace_.steps.at(step_);
    return {{step.wrote, step.probability, step.n_tokens, step.flops, step.failure}};
  }

  std::vector<Given> answer(std::span<const Turn>) override {
    if (n_asked_ < trace_.unanswered.size()) return {{{}, 0, trace_.unanswered[n_asked_].failure}};
    return {{trace_.answer_probabilities, trace_.answer_flops, ""}};
  }

 private:
  const Trace& trace_;
  size_t expert_;
  const size_t& step_;     // now
  const size_t& n_asked_;  // for the answer, before this time
};

[[noreturn]] void untrue(const std::string& place, const std::string& fault) { throw Error(ErrorKind::kData, "trace: " + place + ": " + fault, "the trace is not of this world or was changed"); }

void compare(const std::string& place, const std::string& field, const std::string& said, const std::string& is) {
  if (said != is) untrue(place, field + " is \"" + said + "\" and would be \"" + is + "\"");
}

std::string truth(bool value) { return value ? "true" : "false"; }

}  // namespace

void replay(const Trace& trace) {
  if (reasoning::family(trace.item.family).solve(trace.item) != trace.item.answer) untrue("item", "its answer is \"" + trace.item.answer + "\" and its world gives another");
  size_t now = 0, n_asked = 0, n_answers = 0;
  Writers writers;
  for (size_t i = 0; i < trace.experts.size(); ++i) writers.push_back(std::make_unique<Recorded>(trace, i, now, n_asked));
  const size_t n_steps = trace.steps.size();
  // A chooser sees every step first: the place to notice that the loop would go on.
  const Chooser as_recorded = [&](const std::string&, int64_t step) -> Choice {
    now = static_cast<size_t>(step);
    if (now < n_steps) return trace.steps[now].expert;
    n_asked = n_answers++;
    return n_asked < trace.unanswered.size() ? trace.unanswered[n_asked].expert : std::max<int64_t>(trace.answered_by, 0);
  };
  const std::vector<Question> questions{{trace.item, trace.in_english}};
  const IterateOptions options{.max_steps = trace.max_steps, .max_visits = trace.max_visits, .constrained = trace.constrained, .seed = trace.seed};
  const Trace again = iterate(writers, questions, as_recorded, options)[0];

  for (size_t k = 0; k < std::min(n_steps, again.steps.size()); ++k) {
    const Step &said = trace.steps[k], &is = again.steps[k];
    const std::string place = "step " + std::to_string(k);
    compare(place, "expert", trace.experts[static_cast<size_t>(said.expert)], trace.experts[static_cast<size_t>(is.expert)]);
    compare(place, "failure", said.failure, is.failure);
    compare(place, "wrote", said.wrote, is.wrote);
    compare(place, "thought", said.thought, is.thought);
    compare(place, "action", said.action, is.action);
    compare(place, "cut", said.cut, is.cut);
    compare(place, "observation", said.observation, is.observation);
    compare(place, "error", truth(said.is_error), truth(is.is_error));
  }
  if (again.steps.size() < n_steps) untrue("step " + std::to_string(again.steps.size()), "comes after the end (" + std::string(kEndNames[static_cast<size_t>(again.end)]) + ")");
  if (again.steps.size() > n_steps) untrue("step " + std::to_string(n_steps), "is missing: nothing ends the loop before it");
  compare("end", "it", std::string(kEndNames[static_cast<size_t>(trace.end)]), std::string(kEndNames[static_cast<size_t>(again.end)]));
  if (trace.unanswered != again.unanswered) untrue("unanswered", "others would be asked");
  const auto name = [&](int64_t expert) { return expert < 0 ? std::string() : trace.experts[static_cast<size_t>(expert)]; };
  compare("answer", "answered_by", name(trace.answered_by), name(again.answered_by));
  compare("answer", "it", trace.answer, again.answer);
  compare("answer", "correct", truth(trace.correct), truth(again.correct));
  if (trace.answer_probabilities != again.answer_probabilities) untrue("answer", "its probabilities are those of nothing that was asked");
}

}  // namespace entrain::experts
