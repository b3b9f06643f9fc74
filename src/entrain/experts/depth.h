#pragma once
// How many rounds of observation change what experts answer (D1), and how many make it better (D2); experts.md 3.2. What one round does to the
// next expert's next round, D3, is in causal_depth.h, and what experts know of each other's estimates, D4, in beliefs.h.

#include "entrain/experts/controls.h"
#include "entrain/statistics/resampling.h"

namespace entrain::experts {

/// Jensen-Shannon divergence in nats between softmaxes over the last dimension, in float64; 0 bit for bit between equal logits.
Tensor jensen_shannon(const Tensor& a_logits, const Tensor& b_logits);

constexpr double kOutputAlpha = 0.01;

/// How much a round changes an expert's answers, against placebos.
struct OutputRound {
  int64_t round = 0;
  int64_t expert = -1;              ///< -1: all judged ones (each example's asker, or its mean over experts)
  double change = 0;                ///< mean Jensen-Shannon divergence of the answers after this round and the one before, in nats
  double cut = 0, noise = 0;        ///< the same where experts read themselves alone, and where they read noise
  double p_cut = 1, p_noise = 1;    ///< two-sided paired t-tests over examples of change against each
  bool beyond_cut = false;          ///< change > cut at p < kOutputAlpha; so for noise
  bool beyond_noise = false;
};

struct OutputDepth {
  std::vector<OutputRound> rounds;         ///< expert by expert, the judged ones (-1) last; rounds rising from 1
  std::vector<int64_t> by_expert;          ///< largest round beyond_cut, 0 for none
  int64_t judged = 0;                      ///< the same of expert -1
  std::vector<int64_t> by_expert_noise;    ///< with the noise as placebo
  int64_t judged_noise = 0;
};

/// D1. No correction over rounds: at most kOutputAlpha of them are false each.
OutputDepth output_depth(const Observed& observed, std::span<const Example> examples);

/// What a round gains over the one before.
struct UsefulRound {
  int64_t round = 0;
  int64_t gained = 0, lost = 0;     ///< examples wrong before and right now, and the other way round
  statistics::Interval gain;        ///< of accuracy, paired bootstrap over examples
  double p = 1, p_holm = 1;         ///< exact McNemar test, and corrected over the rounds
  bool useful = false;              ///< gain.low > 0 and p_holm <= 0.05
};

struct UsefulDepth {
  std::vector<double> accuracy;     ///< after 0 to R rounds
  std::vector<UsefulRound> rounds;  ///< from 1
  int64_t depth = 0;                ///< largest useful round, 0 for none
};

/// D2. logits: (R + 1, N, n, 13), as Observed::own. expert: whose answers count; -1: each example's asker, and where it has none the answer
/// likeliest by the experts' averaged probabilities.
UsefulDepth useful_depth(const Tensor& logits, std::span<const Example> examples, int64_t expert, uint64_t seed);

}  // namespace entrain::experts
