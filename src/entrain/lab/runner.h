#pragma once
// Runs what is missing of an experiment. Everything it knows lies in its folder, so it can be killed at any moment and called again:
//   plan.toml, plan.lock    the frozen plan, its hash and when it was frozen
//   results/NAME.json       one finished run each; commit these
//   runs/NAME/              job.json and the run itself: checkpoints, metrics
//   lab.sqlite, lab.lock    the database; held by the one process that writes

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "entrain/lab/job.h"
#include "entrain/lab/store.h"

namespace entrain::lab {

/// When a plan was fixed.
struct Lock {
  std::string hash, frozen_at;
};
std::optional<Lock> read_lock(const fs::path& path);
/// Writes `path` unless it holds this hash already. Throws Error{kUsage} where it holds another one and `amend` is false.
Lock freeze(const Plan& plan, const fs::path& path, bool amend);

/// What tuning chose.
struct Choice {
  Trial values;
  bool at_edge = false;
};

/// The runs of a round of tuning; round counts from 1. survivors: trial numbers that take part, by arm.
std::vector<Job> tuning_jobs(const Plan& plan, int64_t round, const std::map<std::string, std::vector<int64_t>>& survivors);
/// The comparison's runs, seed by seed, then the ladder's.
std::vector<Job> main_jobs(const Plan& plan, const std::map<std::string, Choice>& choices);
/// The trials that go on, or the one that is chosen after the last round: lowest mean validation loss over the tuning seeds. A
/// trial without a result (it diverged) comes last. Throws Error{kNumeric} when an arm has no result at all.
std::map<std::string, std::vector<int64_t>> surviving(const Plan& plan, int64_t round, const std::map<std::string, std::vector<int64_t>>& survivors, const std::vector<Result>& results);
Choice choice_of(const Plan& plan, const std::string& arm, int64_t trial);

fs::path result_file(const fs::path& lab, const std::string& name);
/// Written for runs that diverged: they would do so again.
fs::path failure_file(const fs::path& lab, const std::string& name);

enum class JobEnd { kFinished, kStopped };
/// Carries a job out; after kFinished its result_file exists. Throws Error when the run fails. With several jobs at once it is
/// called from as many threads.
using Performer = std::function<JobEnd(const Job& job, const fs::path& lab)>;
/// In this process. Writes job.json, trains, scores, writes the result.
JobEnd perform_here(const Job& job, const fs::path& lab, train::Observer& observer);

struct RunOptions {
  int64_t n_jobs = 1;                       ///< runs at once; cores are shared out where a recipe leaves train.threads at 0
  bool amend = false;                       ///< accept a changed plan: finished runs that still fit are kept
  bool retry_failed = false;                ///< runs that diverged as well
  std::function<bool()> stop = [] { return false; };                       ///< polled between runs
  std::function<void(const Job&, const std::string& state, const std::string& error, size_t n_done, size_t n_all)> on_state = {};
};

struct RunSummary {
  bool finished = false;                    ///< nothing is left to do
  size_t n_done = 0, n_failed = 0;
  int first_failure = 0;                    ///< ErrorKind of the first run that failed; 0: none
};

/// One process at a time: throws Error{kUsage} while another holds lab.lock.
RunSummary run(const Plan& plan, const fs::path& lab, const Lock& lock, const RunOptions& options, const Performer& perform);

/// An experiment's plan as it was frozen.
Plan frozen_plan(const fs::path& lab);
/// All results under results/.
std::vector<Result> read_results(const fs::path& lab);

}  // namespace entrain::lab
