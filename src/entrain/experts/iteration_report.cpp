#include <algorithm>

#include "entrain/experts/iterate.h"
#include "entrain/experts/writer.h"

namespace entrain::experts {
namespace {

/// Mean FLOPs of the dearest expert's direct answers: the prompt, the marker and the answer.
double direct_flops(const Pool& pool, std::span<const Question> questions) {
  std::vector<double> sums(pool.experts.size(), 0.0);
  for (const Question& question : questions) {
    const int64_t n_tokens = std::ssize(pool.tokenizer.encode(question.prompt(), text::Specials::kAsText)) + 2;
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += forward_flops(pool.experts[i].model, n_tokens);
  }
  return sums.empty() || questions.empty() ? 0.0 : *std::max_element(sums.begin(), sums.end()) / static_cast<double>(questions.size());
}

}  // namespace

IterationReport summarise(std::vector<Trace> traces, double unit_flops) {
  IterationReport report;
  report.n = std::ssize(traces);
  const double share = 1.0 / static_cast<double>(std::max<int64_t>(report.n, 1));
  std::map<int64_t, int64_t> n_by_depth;
  double n_steps = 0;
  for (const std::string_view name : kEndNames) report.ends[std::string(name)] = 0;
  for (const Trace& trace : traces) {
    report.solved += trace.correct ? share : 0;
    report.forced += trace.forced() ? share : 0;
    report.steps += share * static_cast<double>(trace.steps.size());
    report.tokens += share * static_cast<double>(trace.n_tokens());
    report.unparsable += share * static_cast<double>(trace.n_unparsable());
    report.tool_errors += share * static_cast<double>(trace.n_tool_errors());
    report.flops += share * trace.flops();
    report.ends[std::string(kEndNames[static_cast<size_t>(trace.end)])] += share;
    report.solved_by_depth[trace.item.depth] += trace.correct ? 1 : 0;
    ++n_by_depth[trace.item.depth];
    report.shares.resize(std::max(report.shares.size(), trace.experts.size()));
    for (const Step& step : trace.steps) {
      report.shares[static_cast<size_t>(step.expert)] += 1;
      report.n_failures += step.failure.empty() ? 0 : 1;
    }
    report.n_failures += std::ssize(trace.unanswered);
    n_steps += static_cast<double>(trace.steps.size());
  }
  for (auto& [depth, solved] : report.solved_by_depth) solved /= static_cast<double>(n_by_depth[depth]);
  for (double& of_expert : report.shares) of_expert /= std::max(n_steps, 1.0);
  report.relative_cost = unit_flops > 0 ? report.flops / unit_flops : 0;
  report.traces = std::move(traces);
  return report;
}

IterationReport iterate_all(const Pool& pool, std::span<const reasoning::Item> items, const Chooser& chooser, const IterateOptions& options) {
  std::vector<Question> questions;
  for (const reasoning::Item& item : items) questions.push_back({item, asked_in_english(item, options.english)});
  std::vector<Trace> traces;
  const auto at_once = static_cast<size_t>(std::max<int64_t>(options.items_at_once, 1));
  for (size_t begin = 0; begin < questions.size(); begin += at_once) {
    Writers writers = make_writers(pool, options);
    std::vector<Trace> some = iterate(writers, std::span(questions).subspan(begin, std::min(at_once, questions.size() - begin)), chooser, options);
    std::move(some.begin(), some.end(), std::back_inserter(traces));
  }
  return summarise(std::move(traces), direct_flops(pool, questions));
}

Trace make_trace(const Pool& pool, const reasoning::Item& item, const Chooser& chooser, const IterateOptions& options) {
  return std::move(iterate_all(pool, std::span(&item, 1), chooser, options).traces.front());
}

}  // namespace entrain::experts
