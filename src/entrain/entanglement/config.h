#pragma once
// Recipe table [entanglement]: relations between token representations across contexts, learnt beside the language-model loss.

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/base/config.h"

namespace entrain::entanglement {

struct Config {
  std::string mode = "none";
  std::vector<double> blocks = {};
  int64_t width = 64;
  std::string loss = "infonce";
  std::string positives = "next";
  std::string scope = "batch";
  double smoothing = 0.1;
  double temperature = 0.5;
  std::string pairs = "auto";
  int64_t frequencies = 256;
  bool orthogonal = true;
  bool resample = true;
  int64_t next_k = 3;
  int64_t window = 8;
  double window_decay = 0.8;
  double frequency_threshold = 1e-4;
  int64_t ppmi_rank = 32;
  int64_t ppmi_window = 4;
  int64_t statistics_tokens = 4'000'000;
  double uniformity_weight = 1.0;
  double entropy_share = 0.7;
  double margin = 0.5;
  double off_diagonal_weight = 5e-3;
  double vicreg_invariance = 25.0;
  double vicreg_variance = 25.0;
  double vicreg_covariance = 1.0;
  double hsic_weight = 3.0;
  int64_t slices = 64;
  std::string attribute = "";
  double attribute_weight = 1.0;
  double weight = 0.1;
  double warmup = 0.1;
  double decay = 0.2;
  std::string gate = "token";
  double norm_cap = 0.3;
  double head_lr = 1e-3;
  int64_t monitor_every = 50;

  void bind(config::Binder& binder);
  /// Fills `blocks` where it is empty: the one at two thirds of the depth. Throws one Error{kUsage} that lists every value that
  /// cannot work with a model of this shape: blocks it does not have, a projection wider than the model, a temperature that random
  /// features cannot carry, distances between two views.
  void resolve(int64_t layers, int64_t model_width);
  bool is_on() const { return mode != "none"; }
};

}  // namespace entrain::entanglement
