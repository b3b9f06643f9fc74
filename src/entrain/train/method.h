#pragma once
// The seam for methods that work beside the loss: they see the states of the forward pass through taps, change gradients there, and
// own tensors that are trained and saved with the run but are no part of the model. None given leaves no trace.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "entrain/base/communicator.h"
#include "entrain/model/safetensors.h"
#include "entrain/model/transformer.h"
#include "entrain/text/batch_source.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/recipe.h"

namespace entrain::train {

/// Where in training a micro-batch stands.
struct Moment {
  int64_t step = 0;              ///< counted from 1
  double fraction = 0;           ///< of the budget spent before the step
  int64_t part = 0, parts = 1;   ///< micro-batch, of how many
};

/// What a method has to say about a step.
struct MethodReport {
  std::vector<std::pair<std::string, double>> figures = {};  ///< by name, "entanglement.2.mean_cosine"
  std::vector<std::string> alarms = {};                      ///< sentences about what has gone wrong
  std::vector<std::pair<std::string, std::vector<double>>> distributions = {};  ///< by name, as the figures
};

/// An alarm without its numbers, which differ between runs.
std::string alarm_kind(const std::string& alarm);

class Method {
 public:
  virtual ~Method() = default;
  /// One line on what it does in this run, with the choices it made itself.
  virtual std::string describe() const = 0;
  /// Copies of each row it needs in a forward pass, each under its own dropout draws.
  virtual int64_t views() const { return 1; }
  /// Adds its taps for the forward and backward pass of one micro-batch. Both arguments outlive that pass.
  virtual void tap(const Moment& moment, const text::Batch& batch, model::Taps& taps) = 0;
  /// Updates what it owns, after the model's weights. lr_multiplier as in Optimizer::step.
  virtual void step(int64_t step, double lr_multiplier) = 0;
  /// Of the newest step, after which this share of the budget is spent: 1 for the last.
  virtual MethodReport report(double fraction) = 0;
  /// Views of all it must keep to go on; writing them restores it. A checkpoint may lack those whose name ends in kOptional.
  virtual model::NamedTensors state() const = 0;
};

/// Ends the names of a method's tensors that checkpoints of earlier versions lack; they then stay as they were made.
inline constexpr std::string_view kOptional = ".notes";

using Methods = std::vector<std::unique_ptr<Method>>;

/// The methods a recipe switches on; empty for most. `batches` is where they may read statistics of the training text; it is left
/// where it was. References outlive the methods.
Methods make_methods(const Recipe& recipe, const text::Tokenizer& tokenizer, text::BatchSource& batches, Communicator& ranks);

/// What they add to the FLOPs of a step whose forward and backward pass through the model cost `model_flops`; the monitor's readings
/// are not counted.
double method_flops_per_step(const Recipe& recipe, double model_flops);

}  // namespace entrain::train
