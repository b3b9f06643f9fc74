#include "entrain/modalities/training.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>
#include <deque>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/format.h"
#include "entrain/modalities/losses.h"
#include "entrain/train/guard.h"
#include "entrain/train/lr_schedule.h"
#include "entrain/train/optimizer.h"

namespace entrain::modalities {
namespace {

constexpr int64_t kCurvePoints = 20;
constexpr size_t kEmbeddedRows = 64;  // at once; bounds memory

/// Which losses a step has.
struct Losses {
  bool within = false, across = false;
};

Losses losses_of(const Config& config, const std::string& arm, int64_t step) {
  if (arm == "flat") return {.within = false, .across = true};
  return {.within = true, .across = arm == "joint" || step >= std::llround(config.within_share * static_cast<double>(config.steps))};
}

/// The encoders, the scale of the logits, and their optimizers.
class Alignment {
 public:
  Alignment(const Config& config, const std::vector<const Modality*>& modalities, int64_t n_train, const Run& run)
      : config_(config), modalities_(modalities), n_train_(n_train), seed_(static_cast<uint64_t>(run.seed)),
        paired_(paired_items(seed_, n_train, config.n_paired(run.share))) {
    for (const Modality* modality : modalities) encoders_.emplace_back(config, *modality, seed_);
    log_scale_ = scale_.add(model::Role::kBias, "logit_scale", {1});
    scale_.weights()[0].value.fill_(std::log(kInitialLogitScale));
    train::OptimizerConfig optimizer;
    optimizer.lr = config.lr;
    optimizer.weight_decay = config.weight_decay;
    for (Encoder& encoder : encoders_) {
      for (model::Parameters* parameters : encoder.parameters()) parameters_.push_back(parameters);
    }
    parameters_.push_back(&scale_);
    for (const model::Parameters* parameters : parameters_) optimizers_.push_back(train::make_optimizer(optimizer, *parameters));
  }

  /// Leaves the gradient of one step in the parameters.
  LossPoint backward(int64_t step, Losses losses) {
    for (model::Parameters* parameters : parameters_) parameters->clear_gradients();
    LossPoint point{step + 1};
    if (losses.within) point.within = backward_within(step);
    if (losses.across) backward_across(step, point);
    if (!std::isfinite(point.within + point.across + point.uniformity)) {
      throw Error(ErrorKind::kNumeric, "the loss of step " + std::to_string(step + 1) + " is not finite", "lower modalities.lr or raise modalities.temperature");
    }
    return point;
  }

  /// The FLOPs of `backward`, from the shapes of the step's batches alone.
  double step_flops(int64_t step, Losses losses) const {
    double flops = 0;
    const std::vector<int64_t> all = losses.within ? all_items(step) : std::vector<int64_t>(), known = losses.across ? known_items(step) : std::vector<int64_t>();
    for (size_t m = 0; m < encoders_.size(); ++m) {
      for (uint64_t view = 0; losses.within && view < 2; ++view) flops += flops_of(m, view_of(m, all, step, view));
      if (losses.across) flops += flops_of(m, whole(*modalities_[m], known));
    }
    return flops;
  }

  int64_t n_steps(const std::string& arm) const {
    if (config_.match == "steps" || arm == "hierarchical") return config_.steps;
    double left = 0;
    for (int64_t step = 0; step < config_.steps; ++step) left += step_flops(step, losses_of(config_, "hierarchical", step));
    int64_t n = 0;
    for (; left > 0; ++n) left -= step_flops(n, losses_of(config_, arm, n));
    return n;
  }

  void update(int64_t step, int64_t n_steps) {
    train::clip_gradients(parameters_, config_.clip);
    train::ScheduleConfig schedule;
    schedule.warmup = config_.warmup;
    const double n = static_cast<double>(n_steps);
    const double multiplier = train::lr_multiplier(schedule, static_cast<double>(step) / n, static_cast<double>(step + 1) / n);
    for (const auto& optimizer : optimizers_) optimizer->step(step + 1, multiplier);
  }

  std::vector<PairScore> judge() const {
    std::vector<int64_t> items(static_cast<size_t>(config_.held_out));
    std::iota(items.begin(), items.end(), n_train_);
    std::vector<Tensor> z;
    for (size_t m = 0; m < encoders_.size(); ++m) z.push_back(embed(encoders_[m], *modalities_[m], items));
    std::vector<PairScore> scores;
    for (size_t i = 0; i < z.size(); ++i) {
      for (size_t j = i + 1; j < z.size(); ++j) {
        scores.push_back({modalities_[i]->name, modalities_[j]->name, retrieve(z[i], z[j]), retrieve(z[j], z[i]), modality_gap(z[i], z[j])});
      }
    }
    return scores;
  }

  double flops() const { return flops_; }
  double scale() const { return logit_scale(log_scale_.detach()).item<double>(); }

 private:
  double flops_of(size_t m, const std::vector<Span>& spans) const { return encoders_[m].training_flops(std::ssize(spans), longest(spans)); }

  std::vector<int64_t> all_items(int64_t step) const { return batch_places(seed_, "within", step, n_train_, config_.batch); }
  std::vector<int64_t> known_items(int64_t step) const {
    std::vector<int64_t> items = batch_places(seed_, "across", step, std::ssize(paired_), config_.batch);
    for (int64_t& item : items) item = paired_[static_cast<size_t>(item)];
    return items;
  }
  std::vector<Span> view_of(size_t m, const std::vector<int64_t>& items, int64_t step, uint64_t view) const {
    return cropped(*modalities_[m], items, config_.crop, stream(seed_, "crop/" + modalities_[m]->name, static_cast<uint64_t>(step), view));
  }

  Tensor encode(size_t m, const std::vector<Span>& spans, const std::string& use, int64_t step, int64_t view) {
    const Padded batch = pad(*modalities_[m], spans);
    flops_ += flops_of(m, spans);
    RandomStream dropout = stream(seed_, "dropout/" + use + "/" + modalities_[m]->name, static_cast<uint64_t>(step), static_cast<uint64_t>(view));
    return encoders_[m].encode(batch, &dropout);
  }

  /// Two views of each item of a batch of all items, for each modality; returns the mean loss.
  double backward_within(int64_t step) {
    const std::vector<int64_t> items = all_items(step);
    const Tensor scale = at::scalar_tensor(1.0 / config_.temperature, at::kFloat);
    const double n = static_cast<double>(encoders_.size());
    double loss = 0;
    for (size_t m = 0; m < encoders_.size(); ++m) {
      std::vector<Tensor> views;
      for (uint64_t view = 0; view < 2; ++view) views.push_back(encode(m, view_of(m, items, step, view), "within", step, static_cast<int64_t>(view)));
      const Tensor part = symmetric_info_nce(views[0], views[1], scale) / n;
      part.backward();
      loss += part.item<double>();
    }
    return loss;
  }

  void backward_across(int64_t step, LossPoint& point) {
    const std::vector<int64_t> items = known_items(step);
    std::vector<Tensor> z;
    for (size_t m = 0; m < encoders_.size(); ++m) z.push_back(encode(m, whole(*modalities_[m], items), "across", step, 0));
    const Tensor across = across_loss(z, logit_scale(log_scale_)), spread = uniformity(at::cat(z));
    (across + spread * config_.uniformity_weight).sum().backward();
    point.across = across.sum().item<double>();
    point.uniformity = spread.item<double>();
  }

  const Config& config_;
  const std::vector<const Modality*>& modalities_;
  int64_t n_train_;
  uint64_t seed_;
  std::vector<int64_t> paired_;
  std::deque<Encoder> encoders_;  // stay where they are: optimizers refer to their parameters
  model::Parameters scale_;
  Tensor log_scale_;
  std::vector<model::Parameters*> parameters_;
  std::vector<std::unique_ptr<train::Optimizer>> optimizers_;
  double flops_ = 0;
};

}  // namespace

std::string Run::group() const {
  std::string text;
  for (const std::string& one : names) text += (text.empty() ? "" : "+") + one;
  return text;
}

std::string Run::name() const {
  return group() + "-" + arm + format("-%.9g-seed%lld", share, static_cast<long long>(seed));
}

std::vector<int64_t> paired_items(uint64_t seed, int64_t n_items, int64_t n_paired) {
  RandomStream random = stream(seed, "pairs");
  const std::vector<uint32_t> order = permutation(random, static_cast<uint32_t>(n_items));
  return {order.begin(), order.begin() + n_paired};
}

std::vector<int64_t> batch_places(uint64_t seed, const std::string& name, int64_t step, int64_t n, int64_t batch) {
  const int64_t size = std::min(batch, n), per_epoch = n / size;
  RandomStream random = stream(seed, "batch/" + name, static_cast<uint64_t>(step / per_epoch));
  const std::vector<uint32_t> order = permutation(random, static_cast<uint32_t>(n));
  const auto begin = order.begin() + step % per_epoch * size;
  return {begin, begin + size};
}

Tensor embed(const Encoder& encoder, const Modality& modality, std::span<const int64_t> items) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> parts;
  for (size_t begin = 0; begin < items.size(); begin += kEmbeddedRows) {
    const auto some = items.subspan(begin, std::min(kEmbeddedRows, items.size() - begin));
    parts.push_back(encoder.encode(pad(modality, whole(modality, some))));
  }
  return at::cat(parts);
}

Outcome perform(const Config& config, const std::vector<const Modality*>& modalities, int64_t n_train, const Run& run) {
  Alignment alignment(config, modalities, n_train, run);
  Outcome outcome;
  outcome.n_steps = alignment.n_steps(run.arm);
  const auto start = std::chrono::steady_clock::now();
  const int64_t every = std::max<int64_t>(1, outcome.n_steps / kCurvePoints);
  for (int64_t step = 0; step < outcome.n_steps; ++step) {
    const LossPoint point = alignment.backward(step, losses_of(config, run.arm, step));
    alignment.update(step, outcome.n_steps);
    if ((step + 1) % every == 0) outcome.curve.push_back(point);
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.n_paired = config.n_paired(run.share);
  outcome.flops = alignment.flops();
  outcome.logit_scale = alignment.scale();
  outcome.scores = alignment.judge();
  return outcome;
}

}  // namespace entrain::modalities
