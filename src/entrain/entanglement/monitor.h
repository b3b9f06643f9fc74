#pragma once
// Whether the projected space is alive: collapse, an idle projection and poor estimates show here before they show in the loss.

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"

namespace entrain::entanglement {

/// Measured on evenly spaced positions, at most 2,048, of this rank alone. z = v / |v|.
struct Reading {
  int64_t width = 0;                  ///< d, no figure
  double mean_cosine = 0;             ///< of z_i and z_j, i != j; 1 is collapse
  double effective_rank = 0;          ///< e^H of the normalised eigenvalues of z^T z (not centred), 1 to d (Roy & Vetterli, EUSIPCO 2007, of squares)
  double state_mean_cosine = 0;       ///< the same of the states h
  double state_effective_rank = 0;    ///< 1 to C
  double uniformity = 0;              ///< log mean_{i != j} e^(-2 |z_i - z_j|^2), 0 at collapse (arXiv 2005.10242)
  double alignment = 0;               ///< mean |z_i - z_j|^2 over positives, of all positions
  double positive_share = 0;          ///< of positions that have a positive
  double entropy_p5 = 0;              ///< quantiles and mean over i of H(P_i) / log(n - 1) at the configured temperature
  double entropy_mean = 0;
  double entropy_p95 = 0;
  double head_norm = 0;               ///< |W|_F
  double head_top_share = 0;          ///< the largest singular value's square over the sum of all, 1/d to 1
  double soft_nearest_neighbour = 0;  ///< of z by token, lowest over a grid of temperatures; low: tokens stay apart
  double estimate_error = 0;          ///< |estimated - exact| / exact of mean_{i != j} e^(z_i.z_j / tau) on at most 512 positions; 0 where pairs are exact or none are formed
  std::vector<double> entropies = {};  ///< of each position measured, as above
  std::vector<double> cosines = {};    ///< of z in the first half of the positions measured and in the second, one a pair
};

/// h: (B, T, C); projection: (d, C). No gradient is recorded; no rank waits for another.
Reading read(const Tensor& h, const Tensor& projection, const Config& config, const Context& context);

/// Name and value of each, "mean_cosine" and so on.
std::vector<std::pair<std::string, double>> figures(const Reading& reading);

/// Name and values of each that is more than a number.
std::vector<std::pair<std::string, std::vector<double>>> distributions(const Reading& reading);

enum class AlarmKind { kCollapse, kLowRank, kIdleProjection, kEstimates };

struct Alarm {
  AlarmKind kind;
  std::string text;  ///< one sentence: what has gone wrong and what to change
};

/// What a layer's steps showed, for alarms(). Ratios are Pulse::side_ratio; NaN: not known.
struct Course {
  double ratio = NAN, loss = NAN;                   ///< of the newest step
  double floor = -INFINITY;                         ///< loss_floor()
  double mean_ratio = NAN, first_mean_ratio = NAN;  ///< over the steps since the reading before this one, and over those before the first reading
  double mean_loss = NAN, previous_mean_loss = NAN; ///< over the steps since the reading before this one, and over those before that one
};

/// Makes a layer's Course, step by step.
class History {
 public:
  History();
  /// After a step in which the layer worked.
  void add(double side_ratio, double loss);
  /// At a reading: what there is to know, with the newest step's figures last; the means begin anew.
  Course read();
  /// Whether an alarm of this kind has not been raised before; from then on it has.
  bool is_first(AlarmKind kind);
  /// A view, (n) float64, of all there is: who restores it goes on where it was.
  const Tensor& state() const { return state_; }

 private:
  Tensor state_;
};

/// What has gone wrong: mean cosine above 0.9; effective rank below 5 (below 0.8 d for smaller d); a projection that satisfies the loss by itself;
/// estimates more than 20 % off. The projection does so where the side gradient's ratio at the tap is below 1e-3 and the loss within 5 % of a nat or of
/// |floor| of its floor, or, whether or not a floor is known, where the ratio has fallen to a hundredth of its first and the loss has moved by less than
/// 1 % of a nat or of itself since the last reading.
std::vector<Alarm> alarms(const Reading& reading, const Course& course);

}  // namespace entrain::entanglement
