#pragma once
// All that changes during a run besides tensors. Chance needs no place here: its streams are counted by step.

#include <cstdint>
#include <string>

namespace entrain::train {

struct RunState {
  int64_t step = 0;           ///< optimizer steps taken
  int64_t cursor = 0;         ///< BatchSource::cursor()
  double raw_tokens = 0;      ///< read as inputs; a bag of s counts s
  double positions = 0;       ///< transformer positions worked through
  double flops = 0;
  double seconds = 0;         ///< of training steps, over all resumes
  double best_nats = 0;       ///< lowest held-out nats per token so far; 0: none yet
  int64_t best_step = -1;

  std::string to_json() const;
  /// Throws Error{kData}.
  static RunState from_json(const std::string& json, const std::string& name);
  bool operator==(const RunState&) const = default;
};

}  // namespace entrain::train
