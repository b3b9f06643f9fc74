#pragma once
// lab.sqlite: every run of an experiment with its state, scores, losses by unit, learning curve and tuning record. One process
// writes (the one that holds lab.lock); any number may read. The schema is described in docs/lab.md. Finished runs are also text
// files under results/, from which a lost database is filled again.

#include <memory>
#include <string>
#include <vector>

#include "entrain/lab/job.h"

struct sqlite3;

namespace entrain::lab {

/// A run as `lab status` shows it.
struct RunRow {
  std::string name, arm, stage, state;      ///< state: pending, running, stopped, done, failed
  int64_t seed = 0, attempts = 0;
  double share = 1.0;
  std::string error, started_at, finished_at;
  double loss = 0;                          ///< of a run that is done
};

class Store {
 public:
  enum class Mode { kWrite, kRead };
  /// kWrite makes the file; kRead throws Error{kIo} where there is none. Throws Error{kData} for a file that is no such database.
  Store(const fs::path& path, Mode mode);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  void set_plan(const std::string& hash, const std::string& toml, const std::string& frozen_at);
  std::string plan_hash() const;
  std::string frozen_at() const;

  /// Adds the runs that are missing as pending; those found running are marked stopped (their process is gone).
  void add_jobs(const std::vector<Job>& jobs);
  void set_state(const std::string& name, const std::string& state, const std::string& error = "");
  /// The run's result and all its rows, in one transaction; its state becomes done.
  void add_result(const std::string& name, const Result& result);
  void set_choice(const std::string& arm, const Trial& values, bool at_edge);

  std::vector<RunRow> runs() const;
  /// A table as CSV (RFC 4180) with a header line. tables() names them.
  std::string csv(const std::string& table) const;
  static std::vector<std::string> tables();

 private:
  void execute(const std::string& sql);
  sqlite3* database_ = nullptr;
};

}  // namespace entrain::lab
