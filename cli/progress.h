#pragma once
// What a run shows on standard error: one line that is rewritten on a terminal, a line now and then elsewhere.

#include <chrono>
#include <map>
#include <string>

#include "entrain/train/trainer.h"

namespace entrain::cli {

/// Also turns Ctrl-C, SIGTERM and SIGHUP into a request to save and stop, and lets a run outlive the reader of its output.
class Progress final : public train::Observer {
 public:
  explicit Progress(std::string label = "");
  ~Progress() override;
  void on_start(const Start& start) override;
  void on_step(const train::StepRecord& record) override;
  void on_validation(const train::ValidationRecord& record) override;
  bool stop_requested() override;

 private:
  void end_line();
  std::string label_;
  bool terminal_ = false, line_open_ = false;
  double smoothed_loss_ = 0, smoothed_seconds_ = 0;
  int64_t smoothed_bag_ = 0;
  std::map<std::string, double> figures_;  ///< of methods: the newest of each
  std::chrono::steady_clock::time_point last_shown_;
};

/// "12.3k", "4.56M", "1.20G"
std::string short_number(double value);
/// "45 s", "3 min 20 s", "2 h 05 min"
std::string short_time(double seconds);
/// Resident memory of this process in bytes.
double resident_bytes();

}  // namespace entrain::cli
