#pragma once
// The report of an experiment: one HTML page that needs nothing but itself - no network, no scripts, no other file.

#include <string>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/lab/judge.h"
#include "entrain/lab/store.h"

namespace entrain::lab {

struct ReportInput {
  const Judgement& judgement;
  std::vector<RunRow> runs;
  std::string plan_toml;
  std::vector<std::string> commands;  ///< that make the experiment and this page again, one a line
  std::string machine;                ///< where it ran, in words; may be empty
  double confidence = 0.95;           ///< of all intervals
  std::string gnuplot = "gnuplot";    ///< program that draws the figures; without it the page says so in their place
};

std::string to_html(const ReportInput& input);

/// Writes folder/index.html, making the folder. Throws Error{kIo}.
void write_report(const ReportInput& input, const fs::path& folder);

}  // namespace entrain::lab
