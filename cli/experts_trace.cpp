// entrain experts trace FILE [--json]

#include "entrain/experts/trace.h"

#include <cstdio>
#include <memory>
#include <optional>

#include "cli/experts.h"
#include "entrain/base/error.h"
#include "entrain/base/files.h"

namespace entrain::cli {

namespace {

struct Options {
  std::string file;
  bool json = false;
};

/// What a model wrote may hold anything: control characters are shown, not sent to the terminal.
std::string printable(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') shown += " / ";
    else if (byte < 0x20 || byte == 0x7f) shown += "?";
    else shown += c;
  }
  return shown;
}

void print_line(const char* label, const std::string& text) {
  if (!text.empty()) std::printf("  %-12s %s\n", label, printable(text).c_str());
}

void print(const experts::Trace& trace) {
  std::printf("%s\nthe answer is %s\n", printable(trace.prompt()).c_str(), trace.item.answer.c_str());
  for (size_t k = 0; k < trace.steps.size(); ++k) {
    const experts::Step& step = trace.steps[k];
    std::printf("\nstep %zu: %s, %lld tokens, %.3g FLOPs", k, printable(trace.experts[static_cast<size_t>(step.expert)]).c_str(), static_cast<long long>(step.n_tokens), step.flops);
    if (step.failure.empty()) std::printf(", probability of a token %.3f", step.probability);
    for (size_t i = 0; i < step.scores.size(); ++i) std::printf("%s%s %.2f", i == 0 ? "; right next: " : ", ", printable(trace.experts[i]).c_str(), step.scores[i]);
    std::printf("\n");
    print_line("left out:", step.failure);
    print_line("", step.thought);
    print_line("Act:", step.action);
    print_line("Obs:", step.observation);
    print_line("cut:", step.cut);
  }
  for (const experts::Unanswered& one : trace.unanswered) std::printf("\n%s was asked for an answer and failed: %s\n", printable(trace.experts[static_cast<size_t>(one.expert)]).c_str(), printable(one.failure).c_str());
  std::printf("\nend: %s after %zu steps, %lld tokens and %.3g FLOPs\n", std::string(experts::kEndNames[static_cast<size_t>(trace.end)]).c_str(), trace.steps.size(), static_cast<long long>(trace.n_tokens()), trace.flops());
  if (trace.answered_by < 0) {
    std::printf("no answer\n");
  } else {
    std::printf("%s %s: %s, %s\n", printable(trace.experts[static_cast<size_t>(trace.answered_by)]).c_str(), trace.forced() ? "was made to answer" : "answered", trace.answer.c_str(), trace.correct ? "right" : "wrong");
  }
}

void show_trace(const Options& options) {
  const experts::Trace trace = experts::Trace::from_json(read_file(options.file));
  if (!options.json) print(trace);
  std::optional<Error> untrue;
  try {
    experts::replay(trace);
  } catch (const Error& error) {
    untrue = error;
  }
  if (options.json) {
    nlohmann::ordered_json out{{"holds", !untrue}};
    if (untrue) out["problem"] = untrue->what();
    out["trace"] = nlohmann::ordered_json::parse(trace.to_json());
    std::printf("%s\n", out.dump().c_str());
  }
  if (untrue) {
    std::fflush(stdout);
    throw *untrue;
  }
  if (!options.json) std::printf("replayed: every observation and the answer hold\n");
}

}  // namespace

void add_experts_trace(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = experts.add_subcommand("trace", "read a trace of the iterative mode and run its actions again in its world");
  verb->add_option("file", options->file, "trace, as JSON")->required();
  verb->add_flag("--json", options->json, "one JSON object on standard output: whether it holds, and the trace");
  verb->callback([options] { show_trace(*options); });
}

}  // namespace entrain::cli
