#pragma once
// Runs of an experiment as child processes of this program: a run that crashes or is killed for its memory takes nothing with it.

#include <string>

#include "entrain/lab/judge.h"
#include "entrain/lab/runner.h"

namespace entrain::cli {

struct LabArguments {
  int64_t n_jobs = 1;
  double minutes = 0;  ///< 0: until done
  bool amend = false, retry_failed = false;
};

/// Freezes the plan in `lab` (plan_lock: a lock written before, by `entrain lab plan`), runs what is missing and says on standard error what
/// happens. Throws Exit{130} when it was stopped.
lab::RunSummary run_lab(const lab::Plan& plan, const fs::path& lab, const fs::path& plan_lock, const LabArguments& arguments);

/// Judges the experiment, writes report/ and report.md and returns the judgement. commands: what made it, for the report.
lab::Judgement report_lab(const fs::path& lab, const std::vector<std::string>& commands);

}  // namespace entrain::cli
