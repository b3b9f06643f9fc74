// The one place where training knows its methods by name.

#include <algorithm>
#include <map>
#include <regex>
#include <sstream>

#include "entrain/base/error.h"
#include "entrain/entanglement/groups.h"
#include "entrain/entanglement/layer.h"
#include "entrain/entanglement/losses.h"
#include "entrain/entanglement/monitor.h"
#include "entrain/entanglement/pair_sums.h"
#include "entrain/entanglement/positives.h"
#include "entrain/entanglement/ranks.h"
#include "entrain/train/method.h"
#include "entrain/train/optimizer.h"

namespace entrain::train {
namespace {

/// Of the layer; with weight 0 only the monitor is left, which must not double the rows.
int64_t views_of(const entanglement::Config& config) { return config.positives == "views" && config.weight > 0 ? 2 : 1; }

/// Rows the layers see in one pass, those of both views counted.
int64_t pass_rows(const Recipe& recipe) { return recipe.train.rows / recipe.train.micro_batches * views_of(recipe.entanglement); }

/// Training tokens for statistics, as the run itself reads them: a recipe that may see part of the text counts only that part.
std::vector<int32_t> sample_tokens(const Recipe& recipe, text::BatchSource& batches) {
  const int64_t cursor = batches.cursor(), wanted = std::min(recipe.entanglement.statistics_tokens, batches.unique_tokens());
  std::vector<int32_t> tokens;
  batches.seek(0);
  while (static_cast<int64_t>(tokens.size()) < wanted) {
    const text::Batch batch = batches.next({recipe.train.rows, recipe.model.context, 1, 1});
    tokens.insert(tokens.end(), batch.inputs.begin(), batch.inputs.end());
  }
  batches.seek(cursor);
  return tokens;
}

/// Value of the attribute for every token id that is one of the file's words, alone or after a space; -1 elsewhere. (V) int64
Tensor read_attribute(const std::string& path, const text::Tokenizer& tokenizer) {
  Tensor values = at::full({tokenizer.vocab_size()}, -1, at::kLong);
  std::map<std::string, int64_t> classes;
  std::istringstream lines(read_file(path));
  int64_t n_tagged = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = line.find('\t');
    if (line.empty() || line[0] == '#') continue;
    if (tab == std::string::npos) throw Error(ErrorKind::kData, path + " holds a line without a tab: " + line, "write word<TAB>value, one a line");
    const int64_t value = classes.try_emplace(line.substr(tab + 1), static_cast<int64_t>(classes.size())).first->second;
    for (const std::string& form : {line.substr(0, tab), " " + line.substr(0, tab)}) {
      const std::vector<int32_t> ids = tokenizer.encode(form, text::Specials::kAsText);
      if (ids.size() != 1) continue;
      values[ids[0]] = value;
      ++n_tagged;
    }
  }
  if (classes.size() < 2 || n_tagged == 0) {
    throw Error(ErrorKind::kData, path + " names " + std::to_string(classes.size()) + " values and " + std::to_string(n_tagged) + " of its words are tokens",
                "an attribute needs two values and words that the tokenizer keeps whole");
  }
  return values;
}

class Entanglement final : public Method {
 public:
  Entanglement(const Recipe& recipe, const text::Tokenizer& tokenizer, text::BatchSource& batches, Communicator& ranks) : config_(recipe.entanglement), recipe_(recipe), ranks_(ranks) {
    if (config_.positives == "views" && views() == 1) config_.positives = "next";
    layers_.reserve(config_.blocks.size());  // the taps hold their addresses
    for (const double block : config_.blocks) {
      layers_.emplace_back(config_, static_cast<int64_t>(block), recipe.model.width, static_cast<uint64_t>(recipe.train.seed), parameters_);
    }
    histories_.resize(layers_.size());
    OptimizerConfig heads = recipe.optimizer;
    heads.name = "adamw";
    heads.lr = config_.head_lr;
    optimizer_ = make_optimizer(heads, parameters_);
    if (config_.positives == "same_token" || config_.positives == "ppmi") {
      statistics_ = entanglement::token_statistics(sample_tokens(recipe, batches), recipe.model.vocab_size, config_);
    }
    if (!config_.attribute.empty()) attribute_ = read_attribute(config_.attribute, tokenizer);
  }

  std::string describe() const override {
    const int64_t n = entanglement::group_size(config_, pass_rows(recipe_), recipe_.model.context, views(), entanglement::number_of(&ranks_));
    return "entanglement: " + config_.loss + ", positives " + config_.positives + ", " + entanglement::describe(config_, n);
  }

  int64_t views() const override { return views_of(recipe_.entanglement); }

  void tap(const Moment& moment, const text::Batch& batch, model::Taps& taps) override {
    if (moment.part == 0) parameters_.clear_gradients();
    const Tensor inputs = at::tensor(batch.inputs, at::kLong).view({batch.rows, batch.positions, batch.bag});
    context_ = {};
    context_.ids = inputs.select(2, batch.bag - 1);
    if (recipe_.data.borders == "mask") context_.segments = at::tensor(batch.segments, at::kInt).view({batch.rows, batch.positions});
    if (attribute_.defined()) context_.attribute = attribute_.index({context_.ids});
    context_.views = views();
    context_.statistics = &statistics_;
    context_.seed = static_cast<uint64_t>(recipe_.train.seed);
    context_.step = static_cast<uint64_t>(moment.step * moment.parts + moment.part);
    context_.ranks = &ranks_;
    weight_ = entanglement::weight_at(config_, moment.fraction);
    step_ = moment.step;
    const bool first = moment.part == 0;
    for (entanglement::Layer& layer : layers_) {
      taps.add("blocks." + std::to_string(layer.block()) + ".hook_resid_mid", [this, &layer, first, share = 1.0 / static_cast<double>(moment.parts)](const Tensor& h) {
        entanglement::Context context = context_;
        context.block = static_cast<uint64_t>(layer.block());
        if (first) seen_[layer.block()] = {h.detach(), layer.projection().clone(), context};
        return layer(h, context, weight_, share);
      });
    }
  }

  void step(int64_t step, double lr_multiplier) override { optimizer_->step(step, lr_multiplier); }

  MethodReport report(double fraction) override {
    // Whether a step is the last is not known before its end where the budget is in seconds.
    const bool reading_due = fraction >= 1.0 || (config_.monitor_every > 0 && step_ % config_.monitor_every == 0);
    MethodReport report;
    report.figures.emplace_back("entanglement.weight", weight_);
    for (size_t i = 0; i < layers_.size(); ++i) {
      const entanglement::Layer& layer = layers_[i];
      const std::string prefix = "entanglement." + std::to_string(layer.block()) + ".";
      const entanglement::Pulse& pulse = layer.pulse();
      report.figures.emplace_back(prefix + "loss", pulse.loss);
      report.figures.emplace_back(prefix + "cosine", pulse.cosine);
      report.figures.emplace_back(prefix + "gate_rate", pulse.gate_rate);
      report.figures.emplace_back(prefix + "side_ratio", pulse.side_ratio);
      report.figures.emplace_back(prefix + "gradient_ratio", pulse.ratio);
      if (weight_ > 0) histories_[i].add(pulse.side_ratio, pulse.loss);
      if (!reading_due) continue;
      const Seen& seen = seen_.at(layer.block());
      const entanglement::Reading reading = entanglement::read(seen.states, seen.projection, config_, seen.context);
      for (const auto& [name, value] : entanglement::figures(reading)) report.figures.emplace_back(prefix + name, value);
      for (const auto& [name, values] : entanglement::distributions(reading)) report.distributions.emplace_back(prefix + name, values);
      entanglement::Course course = histories_[i].read();
      course.floor = entanglement::loss_floor(config_, seen.context);
      for (const entanglement::Alarm& alarm : entanglement::alarms(reading, course)) {
        if (histories_[i].is_first(alarm.kind)) report.alarms.push_back("block " + std::to_string(layer.block()) + ": " + alarm.text);
      }
    }
    seen_.clear();
    return report;
  }

  model::NamedTensors state() const override {
    model::NamedTensors all = optimizer_->state();
    for (const model::Weight& weight : parameters_.weights()) all.emplace_back(weight.name, weight.value);
    for (size_t i = 0; i < layers_.size(); ++i) {
      all.emplace_back("entanglement.blocks." + std::to_string(layers_[i].block()) + std::string(kOptional), histories_[i].state());
    }
    return all;
  }

 private:
  /// What a reading is of: the first micro-batch of a step and the projection it met.
  struct Seen {
    Tensor states, projection;
    entanglement::Context context;
  };

  entanglement::Config config_;
  const Recipe recipe_;
  Communicator& ranks_;
  model::Parameters parameters_;
  std::vector<entanglement::Layer> layers_;
  std::unique_ptr<Optimizer> optimizer_;
  entanglement::TokenStatistics statistics_;
  Tensor attribute_;
  entanglement::Context context_;
  double weight_ = 0;
  int64_t step_ = 0;
  std::map<int64_t, Seen> seen_;
  std::vector<entanglement::History> histories_;
};

}  // namespace

std::string alarm_kind(const std::string& alarm) { return std::regex_replace(alarm, std::regex(R"( \([^)]*\d[^)]*\))"), ""); }

Methods make_methods(const Recipe& recipe, const text::Tokenizer& tokenizer, text::BatchSource& batches, Communicator& ranks) {
  Methods methods;
  if (recipe.entanglement.is_on()) methods.push_back(std::make_unique<Entanglement>(recipe, tokenizer, batches, ranks));
  return methods;
}

double method_flops_per_step(const Recipe& recipe, double model_flops) {
  const entanglement::Config& config = recipe.entanglement;
  if (!config.is_on() || config.weight == 0) return 0;
  const double passes = static_cast<double>(recipe.train.micro_batches) * static_cast<double>(config.blocks.size());
  const double layers = passes * entanglement::flops_per_pass(config, recipe.model.width, pass_rows(recipe), recipe.model.context, views_of(config), /*n_ranks=*/1);
  return layers + (views_of(config) == 2 ? model_flops : 0);
}

}  // namespace entrain::train
